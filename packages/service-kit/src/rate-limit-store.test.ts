import { randomUUID } from 'node:crypto'
import { Redis } from 'ioredis'
import { expect, inject, test } from 'vitest'
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
    const Store = createRateLimitStore(redis)
    const store = new Store({})
    const key = randomUUID()
    const waits = Array.from({ length: 500 }, async () => {
      const { promise, resolve } = Promise.withResolvers<number>()
      store.incr(key, (_error, result) => resolve(result?.ttl ?? 0), 1, 1)
      return await promise
    })
    expect(Math.min(...(await Promise.all(waits)))).toBeGreaterThan(0)
  } finally {
    redis.disconnect()
  }
})
