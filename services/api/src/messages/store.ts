import { createSecretKey, type KeyObject } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { LIMITS } from '@parley/contract'
import { type Binary, type Document, ObjectId } from 'mongodb'
import type { Database } from '../database/client.ts'
import type { MessageDocument, MessageRow, VoidDocument } from '../database/collections.ts'
import { DUPLICATE_KEY, isDuplicateKey } from '../database/duplicate-key.ts'
import { bytesOf } from './page-bytes.ts'

/** What became of one row of an insert. `unknown`: it may be stored, or be stored later. */
export type InsertOutcome = 'stored' | 'id_taken' | 'seq_taken' | 'key_taken' | 'unknown'

export interface Inserted {
  /** In the order of the rows. */
  outcomes: InsertOutcome[]
  /** The election of the primary that answered. */
  election: string | undefined
  /** Why outcomes are unknown. */
  cause?: unknown
}

interface InsertReply {
  writeErrors?: { index: number; code: number; keyPattern?: Document }[]
  electionId?: ObjectId
}

export interface MessagePosition {
  cid: ObjectId
  org: string
  seq: number
}

/** A number: taken by a message, or void. */
export interface Numbered {
  seq: number
  void?: true | undefined
}

/** The rows of a conversation above some seq, ascending. */
export interface Opening {
  /** All of them. */
  numbers: Numbered[]
  /** The first ones, in full: as many as a join carries. */
  whole: MessageRow[]
}

export type MessageStore = ReturnType<typeof createMessageStore>

/** Reads and writes of rows in `messages` that the log, the fold and the sweeper share, all on a majority. */
export function createMessageStore({ db, messages }: Pick<Database, 'db' | 'messages'>) {
  const at = ({ cid, seq }: MessagePosition) => messages.findOne({ cid, seq })

  /**
   * Inserts rows in one command. Raw, because the driver would retry it: a retry can carry a number across a change
   * of primary, and the reply's election id and key patterns are needed.
   */
  async function insert(rows: readonly MessageRow[]): Promise<Inserted> {
    const outcomes = new Array<InsertOutcome>(rows.length).fill('stored')
    let reply: InsertReply
    try {
      reply = (await db.command({
        insert: 'messages',
        documents: [...rows],
        ordered: false,
        writeConcern: { w: 'majority', j: true },
      })) as InsertReply
    } catch (cause) {
      // Whatever went wrong, including the write concern, the rows may be there: the caller finds out.
      return { outcomes: outcomes.fill('unknown'), election: undefined, cause }
    }
    let cause: unknown
    for (const { index, code, keyPattern } of reply.writeErrors ?? []) {
      const outcome = code === DUPLICATE_KEY ? takenBy(keyPattern) : 'unknown'
      outcomes[index] = outcome
      // Its code alone: MongoDB's own words may quote the message.
      if (outcome === 'unknown') cause = new Error(`MongoDB refused a message with code ${code}`)
    }
    if (cause) outcomes.fill('unknown')
    return { outcomes, election: reply.electionId?.toHexString(), cause }
  }

  /** Ascending by conversation and seq. */
  function above(places: readonly { cid: ObjectId; settledSeq: number }[], projection?: Document) {
    const branches = places.map(({ cid, settledSeq }) => ({ cid, seq: { $gt: settledSeq } }))
    const [only, ...more] = branches
    return messages
      .find(more.length === 0 && only ? only : { $or: branches }, {
        ...(projection ? { projection } : {}),
        // Hinted, or each branch is planned by itself, and that costs more than reading it.
        hint: { cid: 1, seq: 1 },
        batchSize: 1_000,
      })
      .sort({ cid: 1, seq: 1 })
  }

  function takenBy(keyPattern: Document | undefined): InsertOutcome {
    if (keyPattern && 'clientMessageId' in keyPattern) return 'key_taken'
    if (keyPattern && 'seq' in keyPattern) return 'seq_taken'
    return keyPattern && '_id' in keyPattern ? 'id_taken' : 'unknown'
  }

  return {
    insert,

    /**
     * Makes sure that a number is decided: the first insert under the unique (cid, seq) wins. Returns what is there
     * now, on a majority: a message, or a void. Rejects while no primary answers.
     */
    async seal({ cid, org, seq }: MessagePosition): Promise<MessageRow> {
      const row: VoidDocument = { _id: new ObjectId(), cid, org, seq, void: true, unsettled: true }
      try {
        await messages.insertOne(row)
        return row
      } catch (error) {
        if (!isDuplicateKey(error)) throw error
      }
      // The first insert may not be on a majority yet, and then this read does not see it.
      for (let pause = 5; ; pause = Math.min(pause * 2, 200)) {
        const found = await at({ cid, org, seq })
        if (found) return found
        await delay(pause)
      }
    },

    byIds: (ids: readonly ObjectId[], projection: Document = {}): Promise<MessageRow[]> =>
      messages.find({ _id: { $in: [...ids] } }, { projection }).toArray(),

    /** The message that an author stored under an idempotency key. */
    byKey: (cid: ObjectId, author: string, clientMessageId: string): Promise<MessageDocument | null> =>
      messages.findOne({ cid, author, clientMessageId }) as Promise<MessageDocument | null>,

    /** Rows above each conversation's `settledSeq`, ascending by seq; `projection` has `cid` and `seq`. */
    async tails(
      places: readonly { cid: ObjectId; settledSeq: number }[],
      projection?: Document,
    ): Promise<Map<string, MessageRow[]>> {
      const rows = places.length === 0 ? [] : await above(places, projection).toArray()
      return Map.groupBy(rows, ({ cid }) => cid.toHexString())
    },

    /** The same for many joins at once: of each conversation only a limited number is kept in full, however long. */
    async openings(places: readonly { cid: ObjectId; settledSeq: number }[]): Promise<Map<string, Opening>> {
      const found = new Map<string, Opening & { bytes: number }>()
      if (places.length === 0) return found
      const cursor = above(places)
      while (await cursor.hasNext()) {
        for (const row of cursor.readBufferedDocuments()) {
          const id = row.cid.toHexString()
          const opening = found.get(id) ?? { numbers: [], whole: [], bytes: 0 }
          found.set(id, opening)
          opening.bytes += bytesOf(row)
          opening.numbers.push({ seq: row.seq, void: row.void })
          if (opening.bytes <= LIMITS.joinBytes || opening.whole.length === 0) opening.whole.push(row)
        }
      }
      return found
    },
  }
}

/** Seals the numbers above `settledSeq` and below this position at which nothing is stored. */
export async function sealHoles(
  store: Pick<MessageStore, 'tails' | 'seal'>,
  { cid, org, seq: end }: MessagePosition,
  settledSeq: number,
): Promise<MessageRow[]> {
  const tailOf = await store.tails([{ cid, settledSeq }], { seq: 1, cid: 1 })
  const there = new Set(tailOf.get(cid.toHexString())?.map(({ seq }) => seq))
  const sealed: MessageRow[] = []
  for (let seq = settledSeq + 1; seq < end; seq++) {
    if (!there.has(seq)) sealed.push(await store.seal({ cid, org, seq }))
  }
  return sealed
}

/**
 * The secret that payload hashes are keyed by: made once and kept with the data, so that repeats always match. A key
 * object, because a key given as bytes is prepared anew for each hash (measured: 16 µs against 1.8).
 */
export async function payloadHashKey(db: Database['db']): Promise<KeyObject> {
  const settings = db.collection<{ _id: string; value: Binary | Buffer }>('settings')
  const fresh = Buffer.from(globalThis.crypto.getRandomValues(new Uint8Array(32)))
  const row = await settings.findOneAndUpdate(
    { _id: 'payloadHashKey' },
    { $setOnInsert: { value: fresh } },
    { upsert: true, returnDocument: 'after' },
  )
  if (!row) throw new Error('the payload hash key could not be stored')
  return createSecretKey(Buffer.isBuffer(row.value) ? row.value : Buffer.from(row.value.buffer))
}
