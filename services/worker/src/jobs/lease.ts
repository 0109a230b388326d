import { randomUUID } from 'node:crypto'
import { summaryLeaseKey } from '@parley/contract'
import { defineScript } from '@parley/service-kit'
import type { Redis, Result } from 'ioredis'

declare module 'ioredis' {
  interface RedisCommander<Context> {
    summaryLease(key: string, token: string, ms: string): Result<number, Context>
  }
}

export type Leases = ReturnType<typeof createLeases>

/**
 * One worker at a time in a conversation, so that no model is paid twice for the same bucket. Only that: what is stored
 * is decided by compare-and-set, so a lease that was lost does no harm.
 */
export function createLeases(redis: Redis, ttlMs: number) {
  defineScript(redis, 'summaryLease', 1, new URL('../../lua/summary-lease.lua', import.meta.url))
  return {
    /** Runs `task` under the lease and keeps it alive; undefined if another worker has it. */
    async run<T>(conversationId: string, task: () => Promise<T>): Promise<T | undefined> {
      const key = summaryLeaseKey(conversationId)
      const token = randomUUID()
      if ((await redis.set(key, token, 'PX', ttlMs, 'NX')) === null) return undefined
      const renewal = setInterval(() => {
        // One that fails is followed by another.
        redis.summaryLease(key, token, String(ttlMs)).catch(() => 0)
      }, ttlMs / 3)
      try {
        return await task()
      } finally {
        clearInterval(renewal)
        // If this fails the lease expires by itself.
        await redis.summaryLease(key, token, '0').catch(() => 0)
      }
    },
  }
}
