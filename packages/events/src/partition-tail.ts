import { setTimeout as delay } from 'node:timers/promises'
import { eventsKey, type Partition } from '@parley/contract'
import { ConnectionError, MAX_BLOCK_MS, type TailConnection } from './connection.ts'
import type { TailEvent } from './entries.ts'
import type { EventsLogger } from './logger.ts'
import { after, type Look, type LossReason, look, type Position, runIdOf } from './position.ts'
import { type Batch, readEvents } from './read-events.ts'
import { createReader } from './resp.ts'

const BATCH_SIZE = 500
const RETRY_MS = { first: 20, max: 1_000 }

/** `silent`: it is followed, but nobody shows that they can write to it. */
export type StreamState = 'away' | 'silent' | 'live'

export interface PartitionTailOptions {
  partition: Partition
  connect: () => TailConnection
  logger: EventsLogger
  /** Milliseconds between two checks of the position. */
  checkMs: number
  wants(partition: Partition, org: string, cid: string): boolean
  onRead(count: number): void
  onEvents(partition: Partition, events: TailEvent[]): void
  onLoss(partition: Partition, reason: LossReason, readUntil: number): void
  onState(state: StreamState): void
}

/** Follows one stream over one connection, and over the next one when that is lost. */
export function createPartitionTail(options: PartitionTailOptions) {
  const { partition, connect, logger, checkMs, wants, onRead, onEvents, onLoss, onState } = options
  const key = eventsKey(partition)
  const isWanted = (org: string, cid: string): boolean => wants(partition, org, cid)
  const closing = new AbortController()
  let position: Position | null = null
  let readUntil = Date.now()
  let isHeard = false

  async function run(): Promise<void> {
    let failures = 0
    while (!closing.signal.aborted) {
      const session = connect()
      const stop = () => session.close()
      closing.signal.addEventListener('abort', stop, { once: true })
      try {
        await session.ready()
        const runId = await runIdOf(session)
        for (;;) {
          const { hasPulse } = await check(session, runId)
          failures = 0
          onState(hasPulse ? 'live' : 'silent')
          await follow(session)
        }
      } catch (error) {
        if (!(error instanceof ConnectionError)) throw error
        if (closing.signal.aborted) break
        logger.debug({ partition, err: error }, 'tail interrupted')
        onState('away')
      } finally {
        closing.signal.removeEventListener('abort', stop)
        session.close()
      }
      // Jitter: the gateways of a fleet lose the same Redis at the same moment.
      const pause = Math.min(RETRY_MS.max, RETRY_MS.first * 2 ** failures++) * (0.5 + Math.random() / 2)
      await delay(pause, undefined, { signal: closing.signal }).catch(() => undefined)
    }
    onState('away')
  }

  /** Checks that nothing was missed, and reads what is there. */
  async function check(session: TailConnection, runId: string): Promise<Look> {
    const at = Date.now()
    const seen = await look(session, runId, partition, position, BATCH_SIZE, isWanted)
    // After a loss the cursor stands at the stream's end before anyone fills: what is written from now on is read here.
    position = seen.position
    if (seen.loss === null) tell(seen.read)
    // While nobody showed that they can write here, writers may have written elsewhere.
    const loss = seen.loss ?? (seen.hasPulse && !isHeard ? 'unheard' : null)
    isHeard = seen.hasPulse
    if (loss !== null) {
      const level = seen.loss === null || loss === 'started' ? 'debug' : 'warn'
      logger[level]({ partition, reason: loss }, 'stream entries may be lost')
      onLoss(partition, loss, readUntil)
    }
    // After a full read there may be more, and some of it trimmed already.
    const isAtEnd = seen.loss !== null || (isHeard && seen.read.count < BATCH_SIZE)
    if (isAtEnd) readUntil = at
    return seen
  }

  /** Until the next check. All tails of a process check at the same moments: one wake-up then serves them all. */
  async function follow(session: TailConnection): Promise<void> {
    const deadline = (Math.floor(performance.now() / checkMs) + 1) * checkMs
    for (;;) {
      const left = Math.ceil(deadline - performance.now())
      if (left <= 0 || !position) return
      const block = Math.min(left, MAX_BLOCK_MS)
      const command = ['XREAD', 'COUNT', BATCH_SIZE, 'BLOCK', block, 'STREAMS', key, position.cursor]
      const read = readEvents(createReader(await session.ask([command])), isWanted)
      position = after(position, read)
      tell(read)
    }
  }

  function tell({ count, events, unknown }: Batch): void {
    if (count === 0) return
    if (events.length > 0) onEvents(partition, events)
    for (const id of unknown) logger.warn({ partition, id }, 'unknown stream entry')
    onRead(count)
  }

  return {
    run,
    close: () => closing.abort(),
  }
}
