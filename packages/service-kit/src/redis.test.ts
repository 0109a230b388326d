import { randomUUID } from 'node:crypto'
import { createProxy } from '@parley/devstack'
import { afterEach, expect, inject, it, vi } from 'vitest'
import { createLogger } from './logging.ts'
import { closeRedis, connectRedis, redisReady } from './redis.ts'

const logger = createLogger({ name: 'test', level: 'silent' })
const open: ReturnType<typeof connectRedis>[] = []
const connectTo = (url: string, kind: 'fast' | 'subscribing' | 'waiting') => {
  const redis = connectRedis(url, { name: 'test', kind, logger })
  open.push(redis)
  return redis
}
afterEach(() => Promise.all(open.splice(0).map(closeRedis)))

it('survives a Redis that is away: reports it at once, and keeps trying', async () => {
  const warn = vi.spyOn(logger, 'warn')
  const redis = connectTo('redis://127.0.0.1:1', 'fast')
  expect(await redisReady(redis, 50)).toBe(false)
  await expect(redis.ping()).rejects.toThrow()
  await vi.waitFor(() => expect(warn).toHaveBeenCalledOnce())
})

it('is usable once it is ready', async () => {
  const redis = connectTo(inject('redisUrl'), 'fast')
  expect(await redisReady(redis, 5_000)).toBe(true)
  expect(await redis.ping()).toBe('PONG')
})

it('comes back after its connection was cut', async () => {
  const redis = connectTo(inject('redisUrl'), 'subscribing')
  await redisReady(redis, 5_000)
  redis.stream.destroy()
  await vi.waitFor(() => expect(redis.status).not.toBe('ready'))
  expect(await redisReady(redis, 5_000)).toBe(true)
})

it('abandons a connection that no longer answers, although nobody closed it', async () => {
  const proxy = await createProxy(Number(new URL(inject('redisUrl')).port))
  try {
    const [fast, patient] = (['fast', 'waiting'] as const).map((kind) =>
      connectTo(`redis://127.0.0.1:${proxy.port}`, kind),
    )
    if (!fast || !patient) throw new Error('not connected')
    await Promise.all([redisReady(fast, 5_000), redisReady(patient, 5_000)])
    proxy.strand()
    const key = randomUUID()
    const waiting = patient.bzpopmin(key, 10)
    await expect(fast.ping()).rejects.toThrow('timed out')
    await vi.waitFor(async () => expect(await fast.ping()).toBe('PONG'), { timeout: 3_000 })
    // The command is repeated on the next connection.
    await fast.zadd(key, 1, 'job')
    expect(await waiting).toEqual([key, 'job', '1'])
  } finally {
    await proxy.close()
  }
}, 30_000)
