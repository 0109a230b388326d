import type { FastifyRateLimitStore, FastifyRateLimitStoreCtor } from '@fastify/rate-limit'
import type { FastifyBaseLogger } from 'fastify'
import type { Redis, Result } from 'ioredis'
import { LRUCache } from 'lru-cache'
import { defineScript } from './redis.ts'

declare module 'ioredis' {
  interface RedisCommander<Context> {
    rateLimit(key: string, windowMs: number): Result<[current: number, ttl: number], Context>
  }
}

/** Counters kept in memory while Redis is away, at most. */
const MAX_WINDOWS = 50_000

interface Window {
  count: number
  until: number
}

/** The same windows, for this process alone. */
export function createLocalWindows(now: () => number = Date.now) {
  const windows = new LRUCache<string, Window>({ max: MAX_WINDOWS })
  return (key: string, windowMs: number): { current: number; ttl: number } => {
    const present = now()
    let window = windows.get(key)
    if (!window || window.until <= present) {
      window = { count: 0, until: present + windowMs }
      windows.set(key, window)
    }
    window.count++
    return { current: window.count, ttl: window.until - present }
  }
}

/**
 * Counters in Redis, shared by all processes; while Redis is away, or takes more than `timeoutMs`, in this process.
 * Never fails: a limit is not worth an error.
 */
export function createRateLimitStore(
  redis: Redis,
  { logger, timeoutMs = 250 }: { logger: Pick<FastifyBaseLogger, 'warn'>; timeoutMs?: number },
): FastifyRateLimitStoreCtor {
  defineScript(redis, 'rateLimit', 1, new URL('../lua/rate-limit.lua', import.meta.url))
  const local = createLocalWindows()
  /** Until when Redis is not asked, after it kept a request waiting. */
  let awayUntil = 0
  /** Whether it was last asked in vain. */
  let failing = false

  async function shared(key: string, windowMs: number): Promise<{ current: number; ttl: number }> {
    const timeout = Promise.withResolvers<never>()
    const timer = setTimeout(() => timeout.reject(new Error('redis is slow')), timeoutMs)
    try {
      const reply = redis.rateLimit(`ratelimit:${key}`, windowMs)
      const [current, ttl] = await Promise.race([reply, timeout.promise])
      // 0 in a window's last millisecond: nobody could wait for that long.
      return { current, ttl: Math.max(1, ttl) }
    } finally {
      clearTimeout(timer)
    }
  }

  async function count(key: string, windowMs: number) {
    if (redis.status !== 'ready' || Date.now() < awayUntil) return local(key, windowMs)
    try {
      const counted = await shared(key, windowMs)
      failing = false
      return counted
    } catch (error) {
      if (!failing) logger.warn({ err: error }, 'requests are counted by this process alone')
      failing = true
      awayUntil = Date.now() + 1_000
      return local(key, windowMs)
    }
  }

  return class RateLimitStore implements FastifyRateLimitStore {
    incr(
      key: string,
      done: (error: Error | null, result?: { current: number; ttl: number }) => void,
      windowMs: number,
    ): void {
      void count(key, windowMs).then((result) => done(null, result))
    }
    child(): FastifyRateLimitStore {
      return this
    }
  }
}
