import { LIMITS } from '@parley/contract'
import type { Logger } from '@parley/service-kit'
import type { ObjectId } from 'mongodb'
import type { Collections, ConversationDocument, MessageRow } from '../database/collections.ts'
import { isHeldUp, MAX_WRITE_MS, writeApart } from '../database/held-up.ts'
import { type Fold, foldTail } from './fold.ts'
import type { MessageStore } from './store.ts'

/**
 * Milliseconds in which messages are gathered before heads are written: writing a head costs mongod three times what
 * storing a message does. Well below the age at which the sweeper considers a message forgotten.
 */
const INTERVAL_MS = 1_000
/** Most messages of one conversation that wait for the fold: each reader has to fold them in meanwhile. */
const MAX_TAIL = 500
/** Most heads folded together. */
const BATCH_SIZE = 100

/** The parts of a message that count; of its text only what a preview can show. */
export const COUNTED = {
  cid: 1,
  seq: 1,
  void: 1,
  author: 1,
  role: 1,
  usage: 1,
  costMicros: 1,
  deletedAt: 1,
  createdAt: 1,
  content: { $substrCP: [{ $ifNull: ['$content', ''] }, 0, 141] },
} as const

const HEAD = {
  org: 1,
  settledSeq: 1,
  lastSeq: 1,
  messageCount: 1,
  lastMessage: 1,
  inputTokens: 1,
  outputTokens: 1,
  totalTokens: 1,
  costMicros: 1,
  agentRun: 1,
  updatedAt: 1,
  updatedBy: 1,
  changeSeq: 1,
  deletedAt: 1,
} as const

type Head = Fold & Pick<ConversationDocument, '_id' | 'org' | 'changeSeq' | 'deletedAt'>

/** A head as read, and as it is with what was counted. */
interface Move {
  head: Head
  next: Head
  /** Enough was counted for another summary. */
  isDue: boolean
}

export interface HeadUpdaterOptions {
  conversations: Collections['conversations']
  messages: Collections['messages']
  store: MessageStore
  /** Called once a conversation has filled a bucket; must not throw. */
  summaryDue(conversation: { cid: ObjectId; org: string; settledSeq: number }): void
  /** Called with the conversations that have new messages, and when they last changed. */
  touched(conversations: readonly { cid: ObjectId; at: Date }[]): void
  logger: Pick<Logger, 'warn'>
}

export type HeadUpdater = ReturnType<typeof createHeadUpdater>

/**
 * Brings the heads of conversations up to date with their messages, a moment after they are stored: counts, usage,
 * cost, preview, the run of agent messages, and whether a summary is due. Readers do not wait for it.
 */
export function createHeadUpdater({
  conversations,
  messages,
  store,
  summaryDue,
  touched,
  logger,
}: HeadUpdaterOptions) {
  const waiting = new Map<string, ObjectId>()
  /** Rows this process has put on the stream, and may therefore mark settled once a head covers them. */
  const published = new Map<string, Map<number, ObjectId>>()
  let timer: NodeJS.Timeout | undefined
  let running: Promise<void> | undefined
  let closed = false
  let hurried = false

  function touch(cid: ObjectId): void {
    waiting.set(cid.toHexString(), cid)
    if (!timer && !running && !closed) timer = setTimeout(start, INTERVAL_MS)
  }

  /** Does not wait for the rest of the interval. */
  function hurry(): void {
    hurried = true
    if (running || closed) return
    clearTimeout(timer)
    start()
  }

  function start(): void {
    timer = undefined
    hurried = false
    running = pass()
      .catch((error: unknown) => logger.warn({ err: error }, 'the fold waits for the database'))
      .finally(() => {
        running = undefined
        if (waiting.size > 0 && !closed) timer = setTimeout(start, hurried ? 0 : INTERVAL_MS)
      })
  }

  /** Folds everything that waits now. */
  async function pass(): Promise<void> {
    const cids = [...waiting.values()]
    waiting.clear()
    for (let at = 0; at < cids.length; at += BATCH_SIZE) {
      try {
        await fold(cids.slice(at, at + BATCH_SIZE))
      } catch (error) {
        for (const cid of cids.slice(at)) waiting.set(cid.toHexString(), cid)
        throw error
      }
    }
  }

  /** Reads heads, then tails, and writes what moved; a head that changed in between is read again. */
  async function fold(cids: ObjectId[]): Promise<void> {
    const heads = await conversations
      .find<Head>({ _id: { $in: cids } }, { projection: HEAD, batchSize: BATCH_SIZE })
      .toArray()
    const tailOf = await store.tails(
      heads.map(({ _id, settledSeq }) => ({ cid: _id, settledSeq })),
      COUNTED,
    )
    const moves = heads.flatMap((head) => {
      const next = foldTail(head, tailOf.get(head._id.toHexString()) ?? [])
      const isDue = !head.deletedAt && crosses(head.settledSeq, next.settledSeq)
      return next.settledSeq > head.settledSeq ? [{ head, next, isDue }] : []
    })
    let done = new Set(moves.map(({ head }) => head._id.toHexString()))
    if (moves.length > 0) {
      const written = await write(moves).catch(async (error: unknown) => {
        if (!isHeldUp(error)) throw error
        // Those that are not written are found below, and wait.
        await writeApart(moves, (move) => write([move]).catch(() => 0))
        return 0
      })
      if (written < moves.length) done = await arrived(moves)
    }
    for (const { head } of moves) if (!done.has(head._id.toHexString())) touch(head._id)
    const counted = moves.filter(({ head }) => done.has(head._id.toHexString()))
    touched(counted.map(({ head, next }) => ({ cid: head._id, at: next.updatedAt })))
    for (const { head, next, isDue } of counted) {
      if (isDue) summaryDue({ cid: head._id, org: head.org, settledSeq: next.settledSeq })
    }
    const settledOf = new Map(counted.map(({ next }) => [next._id.toHexString(), next.settledSeq]))
    await settle(
      heads.map(({ _id, settledSeq }) => ({
        _id,
        settledSeq: settledOf.get(_id.toHexString()) ?? settledSeq,
      })),
    )
  }

  /** Resolves to how many heads are as they were read, and were written. */
  async function write(moves: readonly Move[]): Promise<number> {
    const { matchedCount } = await conversations.bulkWrite(
      moves.map(({ head, next: { _id, org, changeSeq, deletedAt, ...counted }, isDue }) => ({
        updateOne: {
          filter: { _id, settledSeq: head.settledSeq, changeSeq },
          update: {
            $set: { ...counted, ...(isDue ? { summaryDue: true as const } : {}) },
          },
        },
      })),
      { ordered: false, maxTimeMS: MAX_WRITE_MS },
    )
    return matchedCount
  }

  /**
   * Some heads changed meanwhile, or are locked, and the write's reply does not say which: finds those that were
   * updated.
   */
  async function arrived(
    moves: readonly { next: { _id: ObjectId; settledSeq: number } }[],
  ): Promise<Set<string>> {
    const now = await conversations
      .find(
        { _id: { $in: moves.map(({ next }) => next._id) } },
        { projection: { settledSeq: 1 }, batchSize: BATCH_SIZE },
      )
      .toArray()
    const settledOf = new Map(now.map(({ _id, settledSeq }) => [_id.toHexString(), settledSeq]))
    return new Set(
      moves.flatMap(({ next: { _id, settledSeq } }) => {
        const id = _id.toHexString()
        return (settledOf.get(id) ?? 0) >= settledSeq ? id : []
      }),
    )
  }

  /** Clears `unsettled` on rows both published by this process and counted in a head on a majority. */
  async function settle(covered: { _id: ObjectId; settledSeq: number }[]): Promise<void> {
    const ids: ObjectId[] = []
    for (const { _id, settledSeq } of covered) {
      const id = _id.toHexString()
      const rows = published.get(id)
      if (!rows) continue
      for (const [seq, row] of rows) {
        if (seq > settledSeq) continue
        ids.push(row)
        rows.delete(seq)
      }
      if (rows.size === 0) published.delete(id)
    }
    if (ids.length === 0) return
    // Losing this write only costs a repeat on the stream, so it waits for no majority.
    await messages.updateMany({ _id: { $in: ids } }, { $unset: { unsettled: 1 } }, { writeConcern: { w: 1 } })
  }

  return {
    /** The conversation has new messages. */
    touch,

    /** These rows are on the stream. */
    markPublished(rows: readonly Pick<MessageRow, '_id' | 'cid' | 'seq'>[]): void {
      for (const { _id, cid, seq } of rows) {
        const id = cid.toHexString()
        const own = published.get(id) ?? new Map<number, ObjectId>()
        own.set(seq, _id)
        published.set(id, own)
        touch(cid)
        if (own.size >= MAX_TAIL) hurry()
      }
    },

    /** Folds these without waiting for others: for the sweeper, which must not find again what it has published. */
    async foldNow(cids: readonly ObjectId[]): Promise<void> {
      for (let at = 0; at < cids.length; at += BATCH_SIZE) await fold(cids.slice(at, at + BATCH_SIZE))
    },

    /** Resolves when all that was touched before has been folded, or could not be. */
    async flush(): Promise<void> {
      clearTimeout(timer)
      timer = undefined
      await running
      while (waiting.size > 0) await pass()
    },

    async close(): Promise<void> {
      closed = true
      clearTimeout(timer)
      await running
      await pass().catch((error: unknown) =>
        logger.warn({ err: error }, 'a last fold was left to the sweeper'),
      )
    },
  }
}

const crosses = (from: number, to: number): boolean =>
  Math.floor(to / LIMITS.summaryBucket) > Math.floor(from / LIMITS.summaryBucket)
