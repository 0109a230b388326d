import { SUMMARY_QUEUE } from '@parley/contract'
import { Queue } from 'bullmq'
import type { Redis } from 'ioredis'

/** The queue as seen from outside, for figures: over a connection that answers at once or not at all. */
export function createQueueView(redis: Redis) {
  const queue = new Queue(SUMMARY_QUEUE, { connection: redis, skipWaitingForReady: true })
  // Told by the connection's own log line.
  queue.on('error', () => undefined)
  return {
    queue,
    isReady: (): boolean => redis.status === 'ready',
    close: (): Promise<void> => queue.close(),
  }
}
