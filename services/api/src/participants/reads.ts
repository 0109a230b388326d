import { parseParticipantKey, type StreamEvent } from '@parley/contract'
import type { ObjectId } from 'mongodb'
import type { Collections } from '../database/collections.ts'

/** Positions in one write. */
const BATCH_SIZE = 1_000
/**
 * Milliseconds that a sender's position waits for others, since writing one costs as much as a message: so few that,
 * with the write, it is there within the second that clients are promised.
 */
const NOTE_MS = 700
/** People in conversations whose last receipt is remembered, at most. */
const CAPACITY = 50_000

export interface ReadPosition {
  cid: ObjectId
  org: string
  key: string
  seq: number
}

interface Waiting extends ReadPosition {
  /** Tell the room. */
  receipt: boolean
}

interface Batch {
  positions: Map<string, Waiting>
  /** Somebody waits for it. */
  urgent: boolean
  written: Promise<void>
  resolve(): void
  reject(error: unknown): void
}

export interface ReadsOptions {
  participants: Collections['participants']
  publisher: { publish(events: StreamEvent[]): Promise<void> }
  logger: { debug(details: object, message: string): void; warn(details: object, message: string): void }
}

const slotOf = ({ cid, key }: ReadPosition): string => `${cid.toHexString()}${key}`

export type Reads = ReturnType<typeof createReads>

/**
 * How far everybody has read. Positions that arrive while others are being written form the next write, and of one
 * person in one conversation only the furthest is written: a reader who scrolls costs one row now and then.
 */
export function createReads({ participants, publisher, logger }: ReadsOptions) {
  let gathering: Batch | undefined
  let running: Promise<void> | undefined
  let timer: NodeJS.Timeout | undefined
  const told = new Map<string, number>()

  function newBatch(): Batch {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    // Who only notes a position does not wait, and the writer has said what went wrong.
    promise.catch(() => undefined)
    return { positions: new Map(), urgent: false, written: promise, resolve, reject }
  }

  function put(position: ReadPosition, receipt: boolean): Promise<void> {
    gathering ??= newBatch()
    const { positions, written } = gathering
    const slot = slotOf(position)
    const before = positions.get(slot)
    positions.set(slot, {
      ...position,
      seq: Math.max(position.seq, before?.seq ?? 0),
      receipt: receipt || (before?.receipt ?? false),
    })
    if (receipt) gathering.urgent = true
    schedule()
    return written
  }

  function schedule(): void {
    if (!gathering || running) return
    if (gathering.urgent) start()
    else timer ??= setTimeout(start, NOTE_MS)
  }

  function start(): void {
    clearTimeout(timer)
    timer = undefined
    running ??= drain().finally(() => {
      running = undefined
      schedule()
    })
  }

  async function drain(): Promise<void> {
    // The requests of this turn of the event loop share the write.
    await new Promise((resolve) => setImmediate(resolve))
    const batch = gathering
    if (!batch) return
    gathering = undefined
    try {
      await write([...batch.positions.values()])
      batch.resolve()
    } catch (error) {
      logger.warn({ err: error, positions: batch.positions.size }, 'read positions were not written')
      batch.reject(error)
    }
  }

  async function write(positions: Waiting[]): Promise<void> {
    for (let at = 0; at < positions.length; at += BATCH_SIZE) {
      await participants.bulkWrite(
        positions.slice(at, at + BATCH_SIZE).map(({ cid, key, seq, receipt }) => ({
          updateOne: {
            filter: { cid, key },
            update: { $max: { readSeq: seq, ...(receipt ? { readAt: new Date() } : {}) } },
          },
        })),
        { ordered: false },
      )
    }
    tell(positions.filter(({ receipt }) => receipt))
  }

  /** A request that was overtaken by a later one must not take the room's receipt back. */
  function isNews(position: Waiting): boolean {
    const slot = slotOf(position)
    if ((told.get(slot) ?? 0) >= position.seq) return false
    told.delete(slot)
    told.set(slot, position.seq)
    if (told.size > CAPACITY) {
      const [oldest] = told.keys()
      if (oldest !== undefined) told.delete(oldest)
    }
    return true
  }

  function tell(positions: Waiting[]): void {
    const news = positions.filter(isNews)
    if (news.length === 0) return
    const events = news.map(({ cid, org, key, seq }): StreamEvent => {
      const data = { ...parseParticipantKey(key), readSeq: seq }
      return { type: 'receipt.read', org, cid: cid.toHexString(), data: JSON.stringify(data) }
    })
    // Nothing is kept for it: gateways that lose events ask who has read since. Where only this process can't reach
    // Redis, the room hears of it with what that person reads next.
    publisher.publish(events).catch((error: unknown) => {
      logger.debug({ err: error, receipts: events.length }, 'receipts were not published')
    })
  }

  return {
    /** How far somebody has read, as stored; 0 for who takes no part. */
    async position({ cid, key }: Pick<ReadPosition, 'cid' | 'key'>): Promise<number> {
      const row = await participants.findOne({ cid, key }, { projection: { _id: 0, readSeq: 1 } })
      return row?.readSeq ?? 0
    },

    /** Resolves when the position is on a majority. Never goes back. The room hears of it. */
    mark: (position: ReadPosition): Promise<void> => put(position, true),

    /** Notes, within a second, what a sender has read by sending; the room can tell by the message. */
    note(position: ReadPosition): void {
      void put(position, false)
    },

    /** Resolves once nothing waits any more. */
    async idle(): Promise<void> {
      while (gathering || running) {
        start()
        await running
      }
    },
  }
}
