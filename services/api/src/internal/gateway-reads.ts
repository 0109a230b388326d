import { authorize } from '@parley/auth'
import {
  type Caller,
  type InternalAdded,
  type InternalAddedResult,
  type InternalAuthorize,
  type InternalAuthorizeResult,
  type InternalBody,
  type InternalFillResult,
  type InternalHead,
  type InternalJoin,
  type InternalJoinResult,
  isAdmin,
  LIMITS,
  type Message,
  parseParticipantKey,
  participantKey,
  problem,
  type Receipt,
} from '@parley/contract'
import { ObjectId } from 'mongodb'
import type { History } from '../changes/history.ts'
import type { ConversationReader } from '../conversations/reader.ts'
import type { Database } from '../database/client.ts'
import type { ConversationDocument } from '../database/collections.ts'
import { ANY_STATUS, OWN_ROWS } from '../database/indexes.ts'
import { type End, endWith } from '../messages/fold.ts'
import type { MessagePages } from '../messages/pages.ts'
import type { MessageStore } from '../messages/store.ts'
import { minuteOf, receiptOf } from '../participants/participant.ts'
import { createJoinBatches } from './join-batch.ts'

type Head = Pick<ConversationDocument, '_id' | 'settledSeq' | 'lastSeq'>
const NONE: Message[] = []
/**
 * Additions reported at a time to gateways that may have missed them. The query for their views has a stage for each
 * large conversation, and MongoDB takes at most 1,000.
 */
const MAX_ADDED = 500
/** Conversations counted to tell who of two has fewer. */
const MANY = 1_000

export type GatewayReads = ReturnType<typeof createGatewayReads>

/** What gateways read to let sockets into rooms, and to fill what the streams did not bring. */
export function createGatewayReads(options: {
  database: Pick<Database, 'conversations' | 'participants'>
  store: MessageStore
  pages: MessagePages
  history: History
  reader: Pick<ConversationReader, 'roomViews'>
}) {
  const { database, store, pages, history, reader } = options
  const joins = createJoinBatches({ database, store })
  const { conversations, participants } = database

  /** Ends of conversations whose heads were just read, in their order. */
  async function ends(heads: readonly Head[]): Promise<End[]> {
    const tailOf = await store.tails(
      heads.map(({ _id, settledSeq }) => ({ cid: _id, settledSeq })),
      { _id: 0, cid: 1, seq: 1, void: 1 },
    )
    return heads.map((head) => endWith(head, tailOf.get(head._id.toHexString()) ?? []))
  }

  async function endOf(head: Head): Promise<End> {
    const [end] = await ends([head])
    if (!end) throw problem('not_found')
    return end
  }

  return {
    /** @throws ProblemError not_found, whether it does not exist or the caller may not see it */
    async join(request: InternalJoin): Promise<InternalJoinResult> {
      const { afterSeq, afterChangeSeq, members = false } = request
      const { head, own, rows, receipts, tail, page } = await joins.read(request)
      const end = endWith(head, tail)
      const [messages, changed] = await Promise.all([
        page ?? (afterSeq === undefined ? NONE : pages.between(head, afterSeq, end.throughSeq)),
        afterChangeSeq === undefined
          ? { changes: [], more: false }
          : history.since(head, afterChangeSeq, LIMITS.joinPage),
      ])
      return {
        role: own?.role ?? null,
        ...end,
        changeSeq: head.changeSeq,
        readSeq: own?.readSeq ?? 0,
        unread: own ? Math.max(0, end.lastSeq - own.readSeq) : 0,
        messages,
        changes: changed.changes,
        hasMore: lacks(messages, afterSeq, end.lastSeq) || changed.more,
        receipts,
        ...(members ? { members: rows.map(({ key }) => parseParticipantKey(key)) } : {}),
      }
    },

    /** @throws ProblemError not_found if the conversation is gone */
    async fill(request: InternalBody<'/internal/fill'>): Promise<InternalFillResult> {
      const { conversationId, afterSeq, afterChangeSeq, limit } = request
      const head = await conversations.findOne({
        _id: new ObjectId(conversationId),
        deletedAt: { $exists: false },
      })
      if (!head) throw problem('not_found')
      const [filled, changed] = await Promise.all([
        pages.fill(head, afterSeq, limit),
        history.since(head, afterChangeSeq, limit),
      ])
      const end = await endOf(head)
      return {
        messages: filled.messages,
        throughSeq: filled.throughSeq,
        changes: changed.changes,
        throughChangeSeq: changed.more
          ? (changed.changes.at(-1)?.changeSeq ?? afterChangeSeq)
          : Math.max(afterChangeSeq, changed.lastChangeSeq),
        lastSeq: Math.max(end.lastSeq, filled.messages.at(-1)?.seq ?? 0),
        changeSeq: head.changeSeq,
      }
    },

    /** Where these stand; those that are gone are left out. Two queries. */
    async heads(ids: readonly string[]): Promise<InternalHead[]> {
      const heads = await conversations
        .find(
          { _id: { $in: ids.map((id) => new ObjectId(id)) }, deletedAt: { $exists: false } },
          { projection: { settledSeq: 1, lastSeq: 1, changeSeq: 1 }, batchSize: 1_000 },
        )
        .toArray()
      const found = await ends(heads)
      return heads.map(({ _id, settledSeq, changeSeq }, index) => ({
        id: _id.toHexString(),
        changeSeq,
        throughSeq: found[index]?.throughSeq ?? settledSeq,
      }))
    },

    /**
     * Conversations that these people were added to since then, {@link MAX_ADDED} additions at a time. Five queries.
     */
    async added({ people, since, conversationId, after }: InternalAdded): Promise<InternalAddedResult> {
      const from = new Date(since)
      const only = conversationId === undefined ? {} : { cid: new ObjectId(conversationId) }
      const branches = [...Map.groupBy(people, ({ orgId }) => orgId)].map(([org, own]) => ({
        org,
        key: { $in: own.map(participantKey) },
        inactive: ANY_STATUS,
        // Never earlier than the minute of `joinedAt`, which is not in the index.
        activityAt: { $gte: minuteOf(from) },
        joinedAt: { $gte: from },
        ...only,
        ...(after === undefined ? {} : { _id: { $gt: new ObjectId(after) } }),
      }))
      if (branches.length === 0) return { added: [] }
      const rows = await participants
        .find({ $or: branches }, { projection: { cid: 1 } })
        .sort({ _id: 1 })
        .limit(MAX_ADDED)
        // Hinted, or all participants of all conversations might be read for the sake of their order.
        .hint(conversationId === undefined ? OWN_ROWS : { cid: 1, key: 1 })
        .toArray()
      const views = await reader.roomViews(rows.map(({ cid }) => cid))
      // Again, after the views: those who still take part may see what they show.
      const still = await participants
        .find({ _id: { $in: rows.map(({ _id }) => _id) } }, { projection: { _id: 0, cid: 1, key: 1 } })
        .toArray()
      const added = [...Map.groupBy(still, ({ cid }) => cid.toHexString())].flatMap(([id, own]) => {
        const conversation = views.get(id)
        return conversation
          ? [{ conversation, participants: own.map(({ key }) => parseParticipantKey(key)) }]
          : []
      })
      const last = rows.length < MAX_ADDED ? undefined : rows.at(-1)
      return { added, ...(last && { next: last._id.toHexString() }) }
    },

    /** Who has read in these conversations since then, and how far. */
    async reads(ids: readonly string[], since: Date): Promise<Receipt[]> {
      const rows = await participants
        .find(
          { cid: { $in: ids.map((id) => new ObjectId(id)) }, readAt: { $gte: since } },
          { projection: { _id: 0, cid: 1, key: 1, readSeq: 1 } },
        )
        .toArray()
      return rows.map((row) => receiptOf(row.cid.toHexString(), row))
    },

    /** Which of these may join the conversation, in their order, and, if asked for, its participants: one read. */
    async whoMayJoin(request: InternalAuthorize): Promise<InternalAuthorizeResult> {
      const { conversationId, callers, members = false } = request
      const cid = new ObjectId(conversationId)
      const whom = members ? {} : { key: { $in: callers.map(participantKey) } }
      const [head, rows] = await Promise.all([
        conversations.findOne(
          { _id: cid, deletedAt: { $exists: false } },
          { projection: { _id: 0, org: 1 } },
        ),
        participants.find({ cid, ...whom }, { projection: { _id: 0, key: 1, role: 1 } }).toArray(),
      ])
      const byKey = new Map(rows.map((row) => [row.key, row]))
      return {
        exists: head !== null,
        allowed: callers.map(
          (caller) =>
            head?.org === caller.orgId &&
            authorize('conversation:join', caller, byKey.get(participantKey(caller)) ?? null) === 'allow',
        ),
        ...(members ? { members: rows.map(({ key }) => parseParticipantKey(key)) } : {}),
      }
    },

    /** Whether the two share a conversation; for admins, always. Looks through those of the one who has fewer. */
    async shareConversation(caller: Caller, other: { type: Caller['type']; id: string }): Promise<boolean> {
      const [mine, theirs] = [participantKey(caller), participantKey(other)]
      if (isAdmin(caller) || mine === theirs) return true
      const { orgId: org } = caller
      const [own, others] = await Promise.all(
        [mine, theirs].map((key) => participants.countDocuments({ org, key }, { limit: MANY })),
      )
      const [few, many] = (own ?? 0) < (others ?? 0) ? [mine, theirs] : [theirs, mine]
      const shared = await participants
        .aggregate([
          { $match: { org, key: few, inactive: ANY_STATUS } },
          { $sort: { activityAt: -1 } },
          {
            $lookup: {
              from: participants.collectionName,
              localField: 'cid',
              foreignField: 'cid',
              pipeline: [{ $match: { key: many } }, { $project: { _id: 1 } }],
              as: 'other',
            },
          },
          { $match: { other: { $ne: [] } } },
          { $limit: 1 },
          { $project: { _id: 1 } },
        ])
        .toArray()
      return shared.length > 0
    },
  }
}

/** Whether a requested page ends before the conversation's last message. */
const lacks = (
  messages: readonly { seq: number }[],
  afterSeq: number | undefined,
  lastSeq: number,
): boolean => afterSeq !== undefined && Math.max(afterSeq, messages.at(-1)?.seq ?? 0) < lastSeq
