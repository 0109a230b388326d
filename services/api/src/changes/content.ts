import type { ConversationDocument } from '../database/collections.ts'

/**
 * To be called, in a change, where the text of the message `seq` is not what it was: summaries under way are then
 * refused, and one that covers it is due again. Above `settledSeq` nothing has read the text yet.
 */
export function textChanged(head: ConversationDocument, seq: number): void {
  if (seq > head.settledSeq) return
  head.contentRev++
  if (seq <= head.summaryCoversSeq) head.summaryDue = true
}
