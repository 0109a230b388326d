import { randomUUID } from 'node:crypto'
import { createProxy } from '@parley/devstack'
import { Redis } from 'ioredis'
import { expect, inject, test, vi } from 'vitest'
import { createLocalWindows, createRateLimitStore } from './rate-limit-store.ts'

test('without Redis, too, a window ends at its time and counts each caller alone', () => {
  let now = 0
  const count = createLocalWindows(() => now)
  expect(count('ada', 100)).toEqual({ current: 1, ttl: 100 })
  now = 60
  expect(count('ada', 100)).toEqual({ current: 2, ttl: 40 })
  expect(count('bob', 100)).toEqual({ current: 1, ttl: 100 })
  now = 100
  expect(count('ada', 100)).toEqual({ current: 1, ttl: 100 })
})

test('in the last millisecond of a window, too, there is time left to wait for', async () => {
  const redis = new Redis(inject('redisUrl'))
  try {
    await redis.ping()
    const count = counter(redis, { logger: { warn: () => undefined } })
    const key = randomUUID()
    const counted = await Promise.all(Array.from({ length: 500 }, () => count(key, 1)))
    expect(Math.min(...counted.map(({ ttl }) => ttl))).toBeGreaterThan(0)
  } finally {
    redis.disconnect()
  }
})

test('a Redis that does not answer makes no request wait for long, or fail, and is logged once', async () => {
  const proxy = await createProxy(Number(new URL(inject('redisUrl')).port))
  const redis = new Redis(proxy.port, '127.0.0.1')
  try {
    await redis.ping()
    proxy.strand()
    const warn = vi.fn()
    const started = Date.now()
    const count = counter(redis, { logger: { warn }, timeoutMs: 20 })
    expect([await count('ada', 60_000), await count('ada', 60_000)]).toMatchObject([
      { current: 1 },
      { current: 2 },
    ])
    await vi.waitFor(() => expect(Date.now()).toBeGreaterThan(started + 1_100))
    expect(await count('ada', 60_000)).toMatchObject({ current: 3 })
    expect(warn).toHaveBeenCalledOnce()
  } finally {
    redis.disconnect()
    await proxy.close()
  }
})

type Counted = { current: number; ttl: number }

function counter(redis: Redis, options: Parameters<typeof createRateLimitStore>[1]) {
  const Store = createRateLimitStore(redis, options)
  const store = new Store({})
  return (key: string, windowMs: number): Promise<Counted> => {
    const { promise, resolve } = Promise.withResolvers<Counted>()
    store.incr(key, (_error, result) => resolve(result ?? { current: 0, ttl: 0 }), windowMs, 1)
    return promise
  }
}
