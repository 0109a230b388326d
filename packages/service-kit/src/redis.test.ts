import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
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
    await vi.waitFor(async () => expect(await fast.ping()).toBe('PONG'))
    // The command is repeated on the next connection.
    await fast.zadd(key, 1, 'job')
    expect(await waiting).toEqual([key, 'job', '1'])
  } finally {
    await proxy.close()
  }
}, 30_000)

/** A way to Redis on which what present connections send can be held up, also beyond their end. */
async function openDetour() {
  const sockets: Socket[] = []
  const server = createServer((client) => {
    const redis = connect(Number(new URL(inject('redisUrl')).port), '127.0.0.1')
    for (const socket of [client, redis]) socket.on('error', () => socket.destroy())
    sockets.push(client, redis)
    redis.pipe(client)
    client.pipe(redis)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('not listening')
  return {
    url: `redis://127.0.0.1:${address.port}`,
    /** Returns what lets go of it. */
    holdUp(): () => void {
      const [client, redis] = sockets
      if (!client || !redis) throw new Error('nobody is connected')
      client.unpipe(redis)
      client.pause()
      return () => void client.pipe(redis)
    },
    close(): void {
      for (const socket of sockets) socket.destroy()
      server.close()
    },
  }
}

it('writes nothing late: what a connection that was given up still delivers takes no effect', async () => {
  const detour = await openDetour()
  try {
    const redis = connectTo(detour.url, 'fast')
    const beside = connectTo(inject('redisUrl'), 'fast')
    await Promise.all([redisReady(redis, 5_000), redisReady(beside, 5_000)])
    const key = randomUUID()
    await redis.set(key, 'before')
    const letGo = detour.holdUp()
    await expect(redis.set(key, 'held up')).rejects.toThrow('timed out')
    await vi.waitFor(() => expect(redis.status).not.toBe('ready'), { timeout: 5_000 })
    expect(await redisReady(redis, 5_000)).toBe(true)
    await redis.set(key, 'after')
    letGo()
    await delay(200)
    expect(await beside.get(key)).toBe('after')
  } finally {
    detour.close()
  }
}, 30_000)
