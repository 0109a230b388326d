import type { ConversationDocument } from '../database/collections.ts'
import { bucketAfter } from '../summaries/work.ts'

/**
 * To be called, in a change, where the text of the message `seq` is not what it was: summaries under way are then
 * refused, and one that covers it is due again. Above the next bucket, or `settledSeq`, no summary has read it yet.
 */
export function textChanged(head: ConversationDocument, seq: number): void {
  if (seq > Math.min(head.settledSeq, bucketAfter(head.summaryCoversSeq))) return
  head.contentRev++
  if (seq <= head.summaryCoversSeq) head.summaryDue = true
}
