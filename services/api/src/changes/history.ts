import {
  type AuditEntry,
  type Caller,
  type Change,
  LIMITS,
  type Page,
  parseParticipantKey,
} from '@parley/contract'
import { toRoomConversation } from '../conversations/conversation.ts'
import type { ConversationReader } from '../conversations/reader.ts'
import {
  type AuditDocument,
  type Collections,
  type ConversationDocument,
  isVoid,
} from '../database/collections.ts'
import { keysetPage, type PageRequest } from '../keyset.ts'
import { toMessage } from '../messages/message.ts'
import { firstOf } from '../messages/page-bytes.ts'
import type { Access } from '../participants/access.ts'

export interface ChangePage {
  /** Ascending by number: the latest state of each thing that changed. */
  changes: Change[]
  /** There are more up to `lastChangeSeq`. */
  more: boolean
  lastChangeSeq: number
}

export type History = ReturnType<typeof createHistory>

/** What has changed in a conversation, for those who were away, and who changed it, for its owners. */
export function createHistory({
  rows,
  reader,
  access,
}: {
  rows: Pick<Collections, 'messages' | 'audit'>
  reader: ConversationReader
  access: Access
}) {
  /**
   * Changes above `after`, up to the number of the head, which was read before: at most `limit`, and no more messages
   * than a join carries. A message that has changed again since then comes with its next number.
   */
  async function since(head: ConversationDocument, after: number, limit: number): Promise<ChangePage> {
    const { changeSeq: lastChangeSeq, ownChangeSeq } = head
    if (after >= lastChangeSeq) return { changes: [], more: false, lastChangeSeq }
    const cursor = rows.messages
      .find({ cid: head._id, changeSeq: { $gt: after, $lte: lastChangeSeq } })
      .sort({ changeSeq: 1 })
    const { rows: changed, next } = await firstOf(cursor, limit)
    const more = next !== undefined
    const changes = changed.flatMap((row): Change[] =>
      isVoid(row)
        ? []
        : [
            {
              changeSeq: row.changeSeq ?? 0,
              kind: row.deletedAt ? 'message.deleted' : 'message.updated',
              message: toMessage(row),
            },
          ],
    )
    const last = changes.at(-1)?.changeSeq ?? 0
    if (ownChangeSeq > after && (!more || ownChangeSeq < last)) {
      const [state] = await reader.states([head], null)
      if (state) {
        changes.push({
          changeSeq: ownChangeSeq,
          kind: head.ownChangeKind ?? 'conversation.updated',
          conversation: toRoomConversation(state),
        })
        changes.sort((a, b) => a.changeSeq - b.changeSeq)
      }
    }
    return { changes: changes.slice(0, limit), more: more || changes.length > limit, lastChangeSeq }
  }

  return {
    since,

    /** `GET /conversations/:id/changes` */
    async changes(
      caller: Caller,
      cid: string,
      {
        after = 0,
        limit = LIMITS.defaultPageSize,
      }: { after?: number | undefined; limit?: number | undefined },
    ) {
      const { head } = await access.require(caller, cid, 'conversation:changes')
      const { changes, more, lastChangeSeq } = await since(head, after, limit)
      return { data: changes, page: { hasMore: more, lastChangeSeq } }
    },

    /** `GET /conversations/:id/audit`: newest first. */
    async audit(caller: Caller, cid: string, request: PageRequest): Promise<Page<AuditEntry>> {
      const { head } = await access.require(caller, cid, 'conversation:audit')
      const found = await keysetPage<AuditDocument>({
        ...request,
        list: ['audit', head._id.toHexString()],
        by: ['changeSeq', '_id'],
        order: 'falling',
        positionOf: ({ changeSeq, _id }) => [changeSeq, _id.toHexString()],
        find: (beyond, sort, limit) =>
          rows.audit
            .find({ cid: head._id, ...beyond })
            .sort(sort)
            .limit(limit)
            .toArray(),
      })
      return { data: found.rows.map(toAuditEntry), page: found.page }
    },
  }
}

const toAuditEntry = (row: AuditDocument): AuditEntry => ({
  id: row._id.toHexString(),
  at: row.at.toISOString(),
  by: parseParticipantKey(row.by),
  action: row.action,
  changeSeq: row.changeSeq,
  subject: row.subject ?? null,
  before: row.before,
  after: row.after,
})
