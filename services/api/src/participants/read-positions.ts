import { setImmediate as nextTurn } from 'node:timers/promises'
import { type PublishedData, type PublishedEvent, parseParticipantKey } from '@parley/contract'
import type { Publisher } from '@parley/events'
import { createHighest, type Logger } from '@parley/service-kit'
import type { ObjectId } from 'mongodb'
import type { Collections } from '../database/collections.ts'
import { isHeldUp, MAX_WRITE_MS, writeApart } from '../database/held-up.ts'

/** Positions in one write. */
const BATCH_SIZE = 1_000
/**
 * Milliseconds that a sender's position waits for others, since writing one costs as much as a message. Short enough
 * that it is written within the second that clients are promised.
 */
const NOTE_MS = 700
/** Most pairs of person and conversation whose last receipt is remembered, and whose receipt waits to be published. */
const MAX_TOLD = 50_000
const MAX_UNTOLD = 10_000
/** Most receipts per publication: few, since each mark tries again while Redis is away. */
const TELL_BATCH_SIZE = 200
/** Milliseconds after which receipts that could not be published are retried without another mark. */
const RETELL_MS = 500

export interface ReadPosition {
  cid: ObjectId
  org: string
  key: string
  seq: number
}

/** A position that the room is told. */
export interface Mark extends ReadPosition {
  /** Their participant's row: a new row, with nothing read, for somebody who left and came back. */
  row: ObjectId
}

type Waiting = ReadPosition & Partial<Pick<Mark, 'row'>>
const isMark = (position: Waiting): position is Mark => position.row !== undefined

interface Pending {
  position: Waiting
  promise: Promise<void>
  resolve(): void
  reject(error: unknown): void
}

interface Batch {
  pending: Map<string, Pending>
  /** Somebody waits for it. */
  urgent: boolean
}

export interface ReadPositionsOptions {
  participants: Collections['participants']
  publisher: Pick<Publisher, 'publish'>
  logger: Pick<Logger, 'debug' | 'warn'>
}

const slotOf = ({ cid, key }: ReadPosition): string => `${cid.toHexString()}${key}`
/**
 * Key within a batch. Marks go by participant row, noted positions by conversation and person, so the two never merge:
 * a failed mark is reported to its caller, a failed note is retried.
 */
const placeOf = (position: Waiting): string => position.row?.toHexString() ?? slotOf(position)

export type ReadPositions = ReturnType<typeof createReadPositions>

/**
 * How far everybody has read. Positions that arrive while others are being written form the next write, with only the
 * furthest of each person in a conversation: a reader who scrolls costs one row now and then.
 */
export function createReadPositions({ participants, publisher, logger }: ReadPositionsOptions) {
  let gathering: Batch | undefined
  let running: Promise<void> | undefined
  let timer: NodeJS.Timeout | undefined
  let failing = false
  let publishing = false
  let published = Promise.resolve()
  let retelling: NodeJS.Timeout | undefined
  /** A request overtaken by a later one must not move the room's receipt back. */
  const told = createHighest(MAX_TOLD)
  /** Receipts not known to be published: the furthest of each person in a conversation. */
  const untold = new Map<string, ReadPosition>()

  function put(position: Waiting): Promise<void> {
    gathering ??= { pending: new Map(), urgent: false }
    const { pending } = gathering
    const place = placeOf(position)
    const known = pending.get(place)
    const written = known ?? Promise.withResolvers<void>()
    // Nobody waits for a noted position, and the writer has logged what went wrong.
    written.promise.catch(() => undefined)
    const seq = Math.max(position.seq, known?.position.seq ?? 0)
    pending.set(place, { ...written, position: { ...position, seq } })
    if (isMark(position)) gathering.urgent = true
    schedule()
    return written.promise
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
    await nextTurn()
    const batch = gathering
    if (!batch) return
    gathering = undefined
    await settle([...batch.pending.values()])
  }

  async function settle(pending: Pending[]): Promise<void> {
    try {
      await write(pending.map(({ position }) => position))
      failing = false
      for (const { resolve } of pending) resolve()
    } catch (error) {
      const apart = [...Map.groupBy(pending, ({ position }) => position.cid.toHexString()).values()]
      if (isHeldUp(error) && apart.length > 1) {
        await writeApart(apart, settle)
        return
      }
      failing = true
      logger.warn({ err: error, positions: pending.length }, 'read positions were not written')
      for (const { position, reject } of pending) {
        reject(error)
        // A mark that failed is reported and repeated by its caller; a note is not.
        if (!isMark(position)) void put(position)
      }
    }
  }

  async function write(positions: Waiting[]): Promise<void> {
    for (let at = 0; at < positions.length; at += BATCH_SIZE) {
      await participants.bulkWrite(
        positions.slice(at, at + BATCH_SIZE).map(({ cid, key, seq, row }) => ({
          updateOne: {
            filter: { cid, key, ...(row ? { _id: row } : {}) },
            update: { $max: { readSeq: seq, ...(row ? { readAt: new Date() } : {}) } },
          },
        })),
        { ordered: false, maxTimeMS: MAX_WRITE_MS },
      )
    }
    tell(positions.filter(isMark))
  }

  /** Puts it behind all others; if there are too many, drops the one that has waited longest. */
  function enqueue(position: Mark): void {
    const slot = slotOf(position)
    untold.delete(slot)
    untold.set(slot, position)
    const [oldest] = untold.keys()
    if (untold.size > MAX_UNTOLD && oldest !== undefined) untold.delete(oldest)
  }

  function tell(positions: Mark[]): void {
    for (const position of positions) {
      if (told.isNews(position.row.toHexString(), position.seq)) enqueue(position)
    }
    if (!publishing) published = publish()
  }

  /**
   * What could not be published waits for the next receipt, for Redis to be back, or a moment: it may be full, not
   * away.
   */
  async function publish(): Promise<void> {
    publishing = true
    clearTimeout(retelling)
    try {
      while (untold.size > 0) {
        const batch = [...untold].slice(0, TELL_BATCH_SIZE)
        await publisher.publish(batch.map(([, position]) => toEvent(position)))
        for (const [slot, position] of batch) if (untold.get(slot) === position) untold.delete(slot)
      }
    } catch (error) {
      logger.debug({ err: error, receipts: untold.size }, 'receipts were not published')
      retelling = setTimeout(() => tell([]), RETELL_MS).unref()
    } finally {
      publishing = false
    }
  }

  return {
    /** How far somebody has read, as stored; null if they take no part. */
    async position(cid: ObjectId, key: string): Promise<Pick<Mark, 'row' | 'seq'> | null> {
      const found = await participants.findOne({ cid, key }, { projection: { readSeq: 1 } })
      return found && { row: found._id, seq: found.readSeq }
    },

    /** Resolves when the position is on a majority. Never goes back. The room is told. */
    mark: (position: Mark): Promise<void> => put(position),

    /**
     * The position is already stored. The room is told once: the process that stored it may have died before telling.
     */
    repeat: (position: Mark): void => tell([position]),

    /** Stores within a second what a sender has read by sending; the room can tell from the message. */
    note(position: ReadPosition): void {
      void put(position)
    },

    /** The streams are back: tells at once what waited for them. */
    wake: (): void => tell([]),

    /** Resolves once nothing waits except for a store that is away. */
    async idle(): Promise<void> {
      do {
        start()
        await running
      } while (gathering && !failing)
      await published
    },
  }
}

function toEvent({ cid, org, key, seq }: ReadPosition): PublishedEvent {
  const data: PublishedData<'receipt.read'> = { ...parseParticipantKey(key), readSeq: seq }
  return { type: 'receipt.read', org, cid: cid.toHexString(), data: JSON.stringify(data) }
}
