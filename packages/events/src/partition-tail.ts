import { setTimeout as delay } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { decodeEntry, type Partition, streamKey, type TailEvent } from './entries.ts'
import type { EventsLogger } from './logger.ts'
import { after, type LossReason, look, type Position, type RawEntry } from './position.ts'

const BATCH = 500
/** A blocking read that is this much late, or any other answer, means a connection that leads nowhere. */
const STALLED_MS = 2_000
const RETRY_MS = { first: 20, most: 1_000 }

export interface PartitionTailOptions {
  partition: Partition
  connect: () => Redis
  logger: EventsLogger
  /** Milliseconds between two checks of the position. */
  checkMs: number
  onEvents(partition: Partition, events: TailEvent[]): void
  onLoss(partition: Partition, reason: LossReason): void
  onConnected(connected: boolean): void
}

/** Follows one stream over one connection, and over the next one when that is lost. */
export function createPartitionTail(options: PartitionTailOptions) {
  const { partition, connect, logger, checkMs, onEvents, onLoss, onConnected } = options
  const key = streamKey(partition)
  const closing = new AbortController()
  let position: Position | null = null

  async function run(): Promise<void> {
    let failures = 0
    while (!closing.signal.aborted) {
      const session = openSession(connect)
      const stop = () => session.close()
      closing.signal.addEventListener('abort', stop, { once: true })
      try {
        await session.ready()
        for (;;) {
          await check(session)
          failures = 0
          onConnected(true)
          await readUntil(session, performance.now() + checkMs)
        }
      } catch (error) {
        if (!(error instanceof SessionError)) throw error
        if (closing.signal.aborted) break
        logger.debug({ partition, err: error }, 'tail interrupted')
        onConnected(false)
      } finally {
        closing.signal.removeEventListener('abort', stop)
        session.close()
      }
      // Jitter: the gateways of a fleet lose the same Redis in the same moment.
      const pause = Math.min(RETRY_MS.most, RETRY_MS.first * 2 ** failures++) * (0.5 + Math.random() / 2)
      await delay(pause, undefined, { signal: closing.signal }).catch(() => undefined)
    }
    onConnected(false)
  }

  /** Makes sure that nothing passed unseen, and reads what is there. */
  async function check(session: Session): Promise<void> {
    const seen = await session.answer(look(session.redis, partition, position, BATCH), 0)
    // After a loss the cursor stands at the stream's end before anyone fills: what is written from now on is read here.
    position = seen.position
    if (seen.loss === null) {
      tell(seen.entries)
      return
    }
    if (seen.loss !== 'started') logger.warn({ partition, reason: seen.loss }, 'stream entries may be lost')
    onLoss(partition, seen.loss)
  }

  async function readUntil(session: Session, deadline: number): Promise<void> {
    for (let left = checkMs; left > 0; left = Math.ceil(deadline - performance.now())) {
      if (!position) return
      const reply = await session.answer(
        session.redis.xread('COUNT', BATCH, 'BLOCK', left, 'STREAMS', key, position.cursor),
        left,
      )
      const entries = reply?.[0]?.[1]
      if (!entries) continue
      position = after(position, entries)
      tell(entries)
    }
  }

  function tell(entries: readonly RawEntry[]): void {
    const events: TailEvent[] = []
    for (const [id, fields] of entries) {
      const event = decodeEntry(id, fields)
      if (event) events.push(event)
      else logger.warn({ partition, id }, 'unknown stream entry')
    }
    if (events.length > 0) onEvents(partition, events)
  }

  return {
    run,
    close: () => closing.abort(),
  }
}

/** Trouble with Redis, as told apart from a fault in the code that handles events. */
class SessionError extends Error {}

type Session = ReturnType<typeof openSession>

/**
 * One connection for as long as it lasts. It is never used again after it broke: a client that reconnects by itself
 * would repeat its pending read on another Redis, past the check.
 */
function openSession(connect: () => Redis) {
  const redis = connect()
  let broken: ((error: SessionError) => void) | undefined
  let ended: SessionError | undefined
  const end = (message: string, cause?: unknown) => {
    if (ended) return
    ended = new SessionError(message, { cause })
    broken?.(ended)
    redis.disconnect()
  }
  if (redis.status === 'wait') redis.connect().catch((error: unknown) => end('the connection failed', error))
  redis.on('error', (error: Error) => end('the connection failed', error))
  redis.on('close', () => end('the connection was lost'))
  redis.on('end', () => end('the connection was lost'))

  /** Waits for the answer, `STALLED_MS` over what it may take (ms). Rejects with a SessionError only. */
  function answer<T>(promise: Promise<T>, mayTakeMs: number): Promise<T> {
    return new Promise((resolve, reject) => {
      if (ended) {
        promise.catch(() => undefined)
        reject(ended)
        return
      }
      const timer = setTimeout(() => end('no answer in time'), mayTakeMs + STALLED_MS)
      broken = (error) => {
        clearTimeout(timer)
        reject(error)
      }
      promise.then(
        (value) => {
          clearTimeout(timer)
          resolve(value)
        },
        (error: unknown) => {
          clearTimeout(timer)
          reject(ended ?? new SessionError('Redis refused', { cause: error }))
        },
      )
    })
  }

  return {
    redis,
    answer,
    ready: () =>
      answer(
        redis.status === 'ready'
          ? Promise.resolve()
          : new Promise<void>((resolve) => redis.once('ready', () => resolve())),
        STALLED_MS,
      ),
    close: () => end('closed'),
  }
}
