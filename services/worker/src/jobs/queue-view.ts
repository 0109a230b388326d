import { SUMMARY_QUEUE } from '@parley/contract'
import { Queue } from 'bullmq'
import type { Redis } from 'ioredis'

const STATES = ['waiting', 'active', 'delayed', 'failed'] as const
/** Milliseconds that figures may take; commands of this connection wait for Redis forever. */
const TIMEOUT_MS = 1_000

export type QueueView = ReturnType<typeof createQueueView>

/** The queue as seen from outside, for figures. `redis` is a connection whose commands wait (kind `waiting`). */
export function createQueueView(redis: Redis) {
  const queue = new Queue(SUMMARY_QUEUE, { connection: redis, skipMetasUpdate: true })
  // The connection itself logs it.
  queue.on('error', () => undefined)
  return {
    isReady: (): boolean => redis.status === 'ready',

    /** Jobs by state; null while Redis does not answer. */
    async counts(): Promise<{ state: string; jobs: number }[] | null> {
      if (redis.status !== 'ready') return null
      const { promise: tooLate, resolve } = Promise.withResolvers<null>()
      const timer = setTimeout(resolve, TIMEOUT_MS, null)
      const asked = queue.getJobCounts(...STATES).catch(() => null)
      const counts = await Promise.race([asked, tooLate])
      clearTimeout(timer)
      return counts && STATES.map((state) => ({ state, jobs: counts[state] ?? 0 }))
    },

    async close(): Promise<void> {
      if (redis.status === 'ready') await queue.close()
    },
  }
}
