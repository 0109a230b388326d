import { eventsKey, type Partition, type PublishedEvent, partitionOf } from '@parley/contract'
import type { Redis } from 'ioredis'
import { encodeEntry, idMillis } from './entries.ts'
import type { EventsLogger } from './logger.ts'

/** Milliseconds for which entries are kept. */
const KEEP_MS = 60_000

export type Publisher = ReturnType<typeof createPublisher>

/** Some events may not have been published; all of them may be published again, since readers drop repeats. */
export class PublishError extends Error {
  readonly failed: readonly PublishedEvent[]

  constructor(failed: readonly PublishedEvent[], cause: unknown) {
    super(`${failed.length} event(s) were not published`, { cause })
    this.name = 'PublishError'
    this.failed = failed
  }
}

/**
 * Writes events to the Redis streams. `redis` should fail fast: the caller keeps what can't be published, and publishes
 * it later.
 *
 * Streams are trimmed to what was written in the last minute, and now and then to about `keepEntries`
 * (100,000), so that a burst can't fill the memory. Trimming is by the clock of Redis, as told by the ids it gives:
 * a writer whose own clock runs ahead would empty the stream under its readers.
 */
export function createPublisher(options: {
  redis: Redis
  logger: EventsLogger
  keepEntries?: number
  /** Called with how many were not published. */
  onFailed?(events: number): void
}) {
  const { redis, logger, keepEntries = 100_000, onFailed } = options
  const newest = new Map<Partition, number>()
  const sinceCount = new Map<Partition, number>()
  // The next connection may lead to a Redis whose clock is behind: an old bound would trim what is being written.
  redis.on('close', () => newest.clear())

  async function publishTo(partition: Partition, events: readonly PublishedEvent[]): Promise<void> {
    const key = eventsKey(partition)
    const newestMs = newest.get(partition)
    const trim = newestMs === undefined ? [] : ['MINID', '~', Math.max(0, newestMs - KEEP_MS)]
    const pipeline = redis.pipeline()
    for (const event of events) pipeline.xadd(key, ...trim, '*', ...encodeEntry(event))
    const written = (sinceCount.get(partition) ?? 0) + events.length
    sinceCount.set(partition, written)
    if (written >= keepEntries / 50) {
      sinceCount.set(partition, 0)
      pipeline.xtrim(key, 'MAXLEN', '~', keepEntries)
    }
    const failed: PublishedEvent[] = []
    let cause: unknown
    const replies = await pipeline.exec().catch((error: unknown) => {
      cause = error
      return null
    })
    for (const [index, event] of events.entries()) {
      const [error, id] = replies?.[index] ?? [cause, null]
      if (typeof id === 'string' && !error) newest.set(partition, idMillis(id))
      else {
        failed.push(event)
        cause ??= error
      }
    }
    if (failed.length > 0) {
      onFailed?.(failed.length)
      logger.debug({ partition, failed: failed.length, err: cause }, 'events not published')
      throw new PublishError(failed, cause)
    }
  }

  return {
    /**
     * Writes the events, those of one partition in the order given, and in the order of the calls. Rejects with a
     * {@link PublishError} that names those which may not be in.
     */
    async publish(events: readonly PublishedEvent[]): Promise<void> {
      if (events.length === 0) return
      const byPartition = new Map<Partition, PublishedEvent[]>()
      for (const event of events) {
        const partition = event.type === 'auth.revoked' ? 'control' : partitionOf(event.cid)
        const list = byPartition.get(partition)
        if (list) list.push(event)
        else byPartition.set(partition, [event])
      }
      // Started in one turn: two calls of publish can't overtake each other on the connection.
      const outcomes = await Promise.allSettled(
        Array.from(byPartition, ([partition, list]) => publishTo(partition, list)),
      )
      const reasons = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason] : []))
      if (reasons.length === 0) return
      const failed = reasons.flatMap((reason) => (reason instanceof PublishError ? reason.failed : []))
      const foreign = reasons.find((reason) => !(reason instanceof PublishError))
      if (foreign) throw foreign
      throw new PublishError(failed, reasons[0]?.cause)
    },
  }
}
