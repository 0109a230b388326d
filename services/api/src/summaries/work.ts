import { type InternalSummaryReadResult, LIMITS, type SummaryMessage } from '@parley/contract'
import { ObjectId } from 'mongodb'
import type {
  Collections,
  ConversationDocument,
  MessageDocument,
  MessageRow,
  SummaryDocument,
} from '../database/collections.ts'
import { isVoid } from '../database/collections.ts'

/** Most edited messages that one step reads again, newest first. */
const REDONE = 200
/** How many of the last messages a summary is shown, and characters of each. */
const RECENT = { messages: 4, characters: 500 }
/** Numbers among which those are looked for: some are void or deleted. */
const RECENT_WITHIN = 20

export type SummaryHead = Pick<
  ConversationDocument,
  | '_id'
  | 'settledSeq'
  | 'contentRev'
  | 'summaryCoversSeq'
  | 'summaryContentRev'
  | 'summaryWantedSeq'
  | 'summaryDue'
>

/** Everything up to here should be covered: the last full bucket, or what was requested. */
export const wantedSeq = ({ settledSeq, summaryWantedSeq }: SummaryHead): number =>
  Math.max(settledSeq - (settledSeq % LIMITS.summaryBucket), summaryWantedSeq ?? 0)

/** The end of the bucket that follows `seq`. */
export const bucketAfter = (seq: number): number => seq - (seq % LIMITS.summaryBucket) + LIMITS.summaryBucket

export type SummaryWorkReader = ReturnType<typeof createSummaryWorkReader>

/** Finds out what a conversation's summary lacks. */
export function createSummaryWorkReader({
  conversations,
  messages,
  participants,
  summaries,
}: Pick<Collections, 'conversations' | 'messages' | 'participants' | 'summaries'>) {
  const newest = (cid: ObjectId, below = Number.MAX_SAFE_INTEGER): Promise<SummaryDocument | null> =>
    summaries.findOne({ cid, throughSeq: { $lt: below } }, { sort: { throughSeq: -1 } })

  /** Messages covered by the summary that have changed since it was made, ascending. */
  async function changedSince(summary: SummaryDocument): Promise<MessageDocument[]> {
    const rows = await messages
      .find({ cid: summary.cid, changeSeq: { $gt: summary.changeSeq }, seq: { $lte: summary.throughSeq } })
      .sort({ seq: 1 })
      .toArray()
    return rows.filter((row) => !isVoid(row))
  }

  /** Content that the summary, or the next one, may have read changed since it was made. */
  const mayBeStale = (head: SummaryHead): boolean =>
    head.summaryCoversSeq > 0 && head.summaryContentRev !== head.contentRev

  async function toSummaryMessages(cid: ObjectId, rows: readonly MessageRow[]): Promise<SummaryMessage[]> {
    const told = rows.filter((row): row is MessageDocument => !isVoid(row) && row.deletedAt === undefined)
    const authors = [...new Set(told.map(({ author }) => author))]
    const known = await participants
      .find({ cid, key: { $in: authors } }, { projection: { _id: 0, key: 1, name: 1 } })
      .toArray()
    const names = new Map(known.map(({ key, name }) => [key, name]))
    return told.map((row) => ({
      seq: row.seq,
      role: row.role,
      author: names.get(row.author) ?? row.author.slice(row.author.indexOf(':') + 1),
      content: row.content,
      tools: row.toolCalls?.map(({ name }) => name) ?? [],
      attachments: row.attachments?.length ?? 0,
      createdAt: row.createdAt.toISOString(),
    }))
  }

  /** The last few messages up to `seq`, shortened. */
  async function recent(cid: ObjectId, seq: number): Promise<SummaryMessage[]> {
    const rows = await messages
      .find({ cid, seq: { $lte: seq, $gt: seq - RECENT_WITHIN } })
      .sort({ seq: 1 })
      .toArray()
    return shortened(await toSummaryMessages(cid, rows))
  }

  /** Nothing is missing: records that on the head too, unless it moved on meanwhile. */
  async function settle(head: SummaryHead): Promise<void> {
    if (!head.summaryDue && !mayBeStale(head)) return
    const { _id, settledSeq, contentRev, summaryCoversSeq } = head
    await conversations.updateOne(
      {
        _id,
        settledSeq,
        contentRev,
        summaryCoversSeq,
        summaryWantedSeq: head.summaryWantedSeq ?? { $exists: false },
      },
      {
        $unset: { summaryDue: 1, summaryWantedSeq: 1 },
        ...(summaryCoversSeq > 0 ? { $set: { summaryContentRev: contentRev } } : {}),
      },
    )
  }

  /** The stored summary again, without outdated content. */
  async function redo(head: SummaryHead, stored: SummaryDocument, changed: MessageDocument[]) {
    const from = changed[0]?.seq ?? 0
    const gone = new Set(changed.map(({ seq }) => seq))
    const [previous, edited, last] = await Promise.all([
      newest(head._id, from),
      toSummaryMessages(head._id, changed.slice(-REDONE)),
      recent(head._id, stored.throughSeq),
    ])
    return {
      state: 'ready' as const,
      coversSeq: head.summaryCoversSeq,
      contentRev: head.contentRev,
      throughSeq: stored.throughSeq,
      previousText: previous?.text ?? '',
      previousSeq: previous?.throughSeq ?? 0,
      notes: (stored.notes ?? []).filter(({ seq }) => !gone.has(seq)),
      messages: edited,
      recent: last,
    }
  }

  /** The next bucket. */
  async function advance(head: SummaryHead, stored: SummaryDocument | null, throughSeq: number) {
    const coversSeq = head.summaryCoversSeq
    const rows = await messages
      .find({ cid: head._id, seq: { $gt: coversSeq, $lte: throughSeq } })
      .sort({ seq: 1 })
      .toArray()
    const streaming = rows.some((row) => !isVoid(row) && row.status === 'streaming' && !row.deletedAt)
    if (streaming || rows.length < throughSeq - coversSeq) return { state: 'waiting' as const }
    const told = await toSummaryMessages(head._id, rows)
    return {
      state: 'ready' as const,
      coversSeq,
      contentRev: head.contentRev,
      throughSeq,
      previousText: stored?.text ?? '',
      previousSeq: stored?.throughSeq ?? 0,
      notes: stored?.notes ?? [],
      messages: told,
      recent: told.length >= RECENT.messages ? shortened(told) : await recent(head._id, throughSeq),
    }
  }

  return {
    /** What to do next in this conversation: first outdated content, then bucket by bucket. */
    async read(conversationId: string): Promise<InternalSummaryReadResult> {
      const head = await conversations.findOne({
        _id: new ObjectId(conversationId),
        deletedAt: { $exists: false },
      })
      if (!head) return { state: 'current' }
      const stored = head.summaryCoversSeq > 0 ? await newest(head._id) : null
      if (stored && mayBeStale(head)) {
        const changed = await changedSince(stored)
        if (changed.length > 0) return redo(head, stored, changed)
      }
      const wanted = wantedSeq(head)
      if (head.summaryCoversSeq >= wanted) {
        await settle(head)
        return { state: 'current' }
      }
      if (wanted > head.settledSeq && head.settledSeq === head.summaryCoversSeq) return { state: 'waiting' }
      const throughSeq = Math.min(bucketAfter(head.summaryCoversSeq), wanted)
      if (throughSeq > head.settledSeq) return { state: 'waiting' }
      return advance(head, stored, throughSeq)
    },

    /** The newest summary without anything deleted or edited since; null if there is none. */
    async standing(
      head: SummaryHead & { summary?: string },
    ): Promise<{ text: string; coversSeq: number } | null> {
      if (head.summaryCoversSeq === 0 || head.summary === undefined) return null
      if (!mayBeStale(head)) return { text: head.summary, coversSeq: head.summaryCoversSeq }
      // Read from its own collection: it may be newer than the text in the head.
      const stored = await newest(head._id)
      const [changed] = stored ? await changedSince(stored) : []
      const standing = changed ? await newest(head._id, changed.seq) : stored
      return standing && { text: standing.text, coversSeq: standing.throughSeq }
    },
  }
}

function shortened(messages: readonly SummaryMessage[]): SummaryMessage[] {
  return messages.slice(-RECENT.messages).map((message) => ({
    ...message,
    content: message.content.slice(0, RECENT.characters).toWellFormed(),
  }))
}
