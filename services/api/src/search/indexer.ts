import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from '@parley/service-kit'
import type { ObjectId } from 'mongodb'
import type { Collections, MessageDocument, SearchTermsDocument } from '../database/collections.ts'
import { isVoid } from '../database/collections.ts'
import { areAllDuplicateKeys } from '../database/duplicate-key.ts'
import { firstOf } from '../messages/page-bytes.ts'
import { unhurried } from '../messages/unhurried.ts'
import { indexTerms } from './terms.ts'

/** Most messages indexed together, and no more than a join carries. */
const BATCH_SIZE = 200
const TEXT = { cid: 1, seq: 1, void: 1, status: 1, deletedAt: 1, content: 1 } as const
/** Milliseconds of rest for each one of work, so that indexing never takes more than a fifth of a core. */
const REST = 4

export type SearchIndexer = ReturnType<typeof createSearchIndexer>

/**
 * Keeps the words of messages in a collection of their own, outside the send path: a conversation is indexed up to
 * `indexedSeq`, in the background when it has new messages, and by a search that finds it behind.
 */
export function createSearchIndexer({
  messages,
  conversations,
  searchTerms,
  searchHeads,
  logger,
}: Pick<Collections, 'messages' | 'conversations' | 'searchTerms' | 'searchHeads'> & {
  logger: Pick<Logger, 'warn'>
}) {
  const waiting = new Map<string, ObjectId>()
  let timer: NodeJS.Timeout | undefined
  let working = Promise.resolve()
  let closed = false

  async function indexedSeq(cid: ObjectId): Promise<number> {
    return (await searchHeads.findOne({ _id: cid }))?.indexedSeq ?? 0
  }

  /**
   * Indexes one batch; returns how far the index reaches, and whether there is more. Stops before an answer still
   * streaming.
   */
  async function step(
    cid: ObjectId,
    from: number,
    settledSeq: number,
  ): Promise<{ through: number; more: boolean }> {
    const { rows, next } = await firstOf(
      messages.find({ cid, seq: { $gt: from, $lte: settledSeq } }, { projection: TEXT }).sort({ seq: 1 }),
      BATCH_SIZE,
    )
    const streaming = rows.findIndex((row) => !isVoid(row) && row.status === 'streaming')
    const whole = streaming < 0 ? rows : rows.slice(0, streaming)
    const live = whole.flatMap((row) => (isVoid(row) || row.deletedAt || row.content === '' ? [] : [row]))
    await insert(live)
    const through = whole.at(-1)?.seq ?? from
    if (through > from) {
      await searchHeads.updateOne({ _id: cid }, { $max: { indexedSeq: through } }, { upsert: true })
    }
    return { through, more: streaming < 0 && next !== undefined }
  }

  async function insert(rows: readonly MessageDocument[]): Promise<void> {
    if (rows.length === 0) return
    const indexed: SearchTermsDocument[] = []
    for await (const { _id, cid, seq, content } of unhurried(rows)) {
      indexed.push({ _id, cid, seq, terms: indexTerms(content) })
    }
    try {
      await searchTerms.insertMany(indexed, { ordered: false })
    } catch (error) {
      // Another process was here at the same time, or the message was deleted.
      if (!areAllDuplicateKeys(error)) throw error
    }
  }

  async function background(): Promise<void> {
    for (const [id, cid] of waiting) {
      if (closed) return
      waiting.delete(id)
      const head = await conversations.findOne({ _id: cid }, { projection: { settledSeq: 1 } })
      if (!head) continue
      let from = await indexedSeq(cid)
      for (let more = true; more && !closed; ) {
        const started = Date.now()
        const done = await step(cid, from, head.settledSeq)
        from = done.through
        more = done.more
        await delay((Date.now() - started) * REST)
      }
    }
  }

  return {
    indexedSeq,
    step,

    /** The conversation has new messages: index them when there is time. */
    touch(cid: ObjectId): void {
      waiting.set(cid.toHexString(), cid)
      if (timer || closed) return
      timer = setTimeout(() => {
        timer = undefined
        // If indexing fails, the next search in the conversation finds it behind.
        working = working
          .then(background)
          .catch((error: unknown) => logger.warn({ err: error }, 'search terms were not indexed'))
      }, 1_000)
    },

    async close(): Promise<void> {
      closed = true
      clearTimeout(timer)
      await working
    },
  }
}
