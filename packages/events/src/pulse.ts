import { ALL_PARTITIONS, eventsPulseKey } from '@parley/contract'
import type { Redis } from 'ioredis'
import type { EventsLogger } from './logger.ts'

/** Milliseconds between two signs, and for which each counts: a process that lags a second does not count as gone. */
const BEAT_MS = 500
const LASTS_MS = 1_500

/**
 * Shows that somebody can write to the streams, by keys that lapse unless they are set again. Without it a reader can't
 * tell a quiet system from one whose writers don't get through to the Redis that it reads.
 */
export function createPulse({ redis, logger }: { redis: Redis; logger: EventsLogger }) {
  function beat(): void {
    const pipeline = redis.pipeline()
    for (const partition of ALL_PARTITIONS) pipeline.set(eventsPulseKey(partition), '1', 'PX', LASTS_MS)
    pipeline.exec().catch((error: unknown) => logger.debug({ err: error }, 'no sign of life on the streams'))
  }

  const timer = setInterval(beat, BEAT_MS)
  redis.on('ready', beat)
  beat()

  return {
    close(): void {
      clearInterval(timer)
      redis.off('ready', beat)
    },
  }
}
