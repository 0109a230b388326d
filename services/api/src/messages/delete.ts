import { type Caller, parseParticipantKey, participantKey, problem } from '@parley/contract'
import type { ObjectId } from 'mongodb'
import { recheckAllowed } from '../changes/authorize.ts'
import type { Changes } from '../changes/changes.ts'
import { textChanged } from '../changes/content.ts'
import type { Collections, MessageDocument } from '../database/collections.ts'
import type { MessageService } from './service.ts'

export type DeleteMessage = ReturnType<typeof createDeleteMessage>

/** Turns a message into a tombstone: its text is gone from the database, its place and cost stay. */
export function createDeleteMessage({
  changes,
  messages,
  searchTerms,
  summaryDue,
}: Pick<Collections, 'searchTerms'> & {
  changes: Changes
  messages: Pick<MessageService, 'find'>
  /** Called if a summary covers what was deleted; must not throw. */
  summaryDue(conversation: { cid: ObjectId; org: string; settledSeq: number }): void
}) {
  /**
   * Resolves once the tombstone is on a majority; deleting again changes nothing.
   * @throws ProblemError not_found, forbidden
   */
  return async (caller: Caller, id: string): Promise<void> => {
    const { row: found } = await messages.find(caller, id, 'message:delete')
    if (found.deletedAt) return
    const author = parseParticipantKey(found.author)
    const { head } = await changes.apply(found.cid, {
      by: participantKey(caller),
      async run(transaction) {
        await recheckAllowed(transaction, caller, 'message:delete', author)
        const row = await transaction.message(found._id)
        if (!row) throw problem('not_found')
        if (row.deletedAt) return { value: undefined }
        blank(row, transaction.now)
        const { head } = transaction
        // Above settledSeq it is counted when it is folded, as a tombstone by then.
        if (row.seq <= head.settledSeq) head.messageCount--
        if (head.lastMessage?.id.equals(row._id)) head.lastMessage = { ...head.lastMessage, preview: '' }
        textChanged(head, row.seq)
        // Emptied, not removed, so that an indexer which read the text earlier collides with it.
        const { _id, cid, seq } = row
        const { session } = transaction
        await searchTerms.replaceOne({ _id }, { cid, seq, terms: [] }, { upsert: true, session })
        return {
          value: undefined,
          effect: {
            kind: 'message.deleted',
            action: 'message.delete',
            messageId: row._id,
            before: { deleted: false },
            after: { deleted: true },
          },
        }
      },
    })
    if (head.summaryDue) summaryDue({ cid: head._id, org: head.org, settledSeq: head.settledSeq })
  }
}

function blank(row: MessageDocument, now: Date): void {
  row.deletedAt = now
  row.content = ''
  delete row.attachments
  delete row.thinking
  delete row.toolCalls
  delete row.metadata
  if (row.status === 'streaming') row.status = 'cancelled'
  delete row.streamedAt
}
