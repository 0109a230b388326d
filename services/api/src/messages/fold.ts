import { previewOf } from '@parley/contract'
import type { ConversationDocument, MessageDocument, MessageRow } from '../database/collections.ts'
import { isVoid } from '../database/collections.ts'

/** The fields of a head that are folded from its messages. */
export type Fold = Pick<
  ConversationDocument,
  | 'settledSeq'
  | 'lastSeq'
  | 'messageCount'
  | 'lastMessage'
  | 'inputTokens'
  | 'outputTokens'
  | 'totalTokens'
  | 'costMicros'
  | 'agentRun'
  | 'updatedAt'
  | 'updatedBy'
>

export const emptyFold: Omit<Fold, 'updatedAt' | 'updatedBy'> = {
  settledSeq: 0,
  lastSeq: 0,
  messageCount: 0,
  inputTokens: 0,
  outputTokens: 0,
  totalTokens: 0,
  costMicros: 0,
  agentRun: 0,
}

const lastMessageOf = (row: MessageDocument): NonNullable<Fold['lastMessage']> => ({
  id: row._id,
  seq: row.seq,
  role: row.role,
  author: row.author,
  preview: previewOf(row),
  createdAt: row.createdAt,
})

/** Messages by agents in a row, after one more by `author`. */
export const nextAgentRun = (run: number, author: string): number =>
  author.startsWith('agent:') ? run + 1 : 0

/** The rows that follow `settledSeq` without a gap; `rows` ascend by seq. */
export function contiguous<T extends { seq: number }>(settledSeq: number, rows: readonly T[]): T[] {
  let end = 0
  while (end < rows.length && rows[end]?.seq === settledSeq + end + 1) end++
  return rows.slice(0, end)
}

/** Where a conversation ends: its last message, and the number up to which all are decided. */
export interface End {
  lastSeq: number
  throughSeq: number
}

/** The end of a head with the rows above its `settledSeq`, ascending by seq. */
export function endWith(
  { settledSeq, lastSeq }: Pick<Fold, 'settledSeq' | 'lastSeq'>,
  rows: readonly { seq: number; void?: true | undefined }[],
): End {
  const tail = contiguous(settledSeq, rows)
  const last = tail.findLast((row) => row.void !== true)
  return { lastSeq: last?.seq ?? lastSeq, throughSeq: settledSeq + tail.length }
}

/**
 * Counts the rows above `settledSeq` into a copy of the head, up to the first number that is neither stored nor void.
 * `rows` ascend by seq and start above `settledSeq`.
 */
export function foldTail<H extends Fold>(head: H, rows: readonly MessageRow[]): H {
  const fold = { ...head }
  for (const row of contiguous(head.settledSeq, rows)) {
    fold.settledSeq = row.seq
    if (isVoid(row)) continue
    fold.lastSeq = row.seq
    fold.agentRun = nextAgentRun(fold.agentRun, row.author)
    if (!row.deletedAt) fold.messageCount++
    if (row.usage) {
      fold.inputTokens += row.usage.inputTokens
      fold.outputTokens += row.usage.outputTokens
      fold.totalTokens += row.usage.totalTokens
    }
    fold.costMicros += row.costMicros ?? 0
    fold.lastMessage = lastMessageOf(row)
    if (row.createdAt > fold.updatedAt) {
      fold.updatedAt = row.createdAt
      fold.updatedBy = row.author
    }
  }
  return fold
}
