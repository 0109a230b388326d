import { createHash } from 'node:crypto'
import {
  type Caller,
  type Conversation,
  isAdmin,
  type ListConversationsQuery,
  type Page,
  participantKey,
} from '@parley/contract'
import { type Filter, ObjectId } from 'mongodb'
import type { Collections, ConversationDocument, ParticipantDocument } from '../database/collections.ts'
import { ANY_STATUS } from '../database/indexes.ts'
import { keysetPage, type PageRequest } from '../keyset.ts'
import { toConversation } from './conversation.ts'
import type { ConversationReader } from './reader.ts'

/** Which conversations; all of them if nothing is given. */
export type ConversationFilter = Pick<ListConversationsQuery, 'status' | 'tag' | 'agentId' | 'externalId'>

type Row = ParticipantDocument & { head: ConversationDocument }

const filterOf = ({
  status,
  tag,
  agentId,
  externalId,
}: ConversationFilter): Filter<ConversationDocument> => ({
  ...(status === undefined ? {} : { status }),
  ...(tag === undefined ? {} : { tags: tag }),
  ...(agentId === undefined ? {} : { agentId }),
  ...(externalId === undefined ? {} : { externalId }),
})

const byActivity = (a: ConversationDocument, b: ConversationDocument): number =>
  b.updatedAt.getTime() - a.updatedAt.getTime()

const inHead = (filter: object): object =>
  Object.fromEntries(Object.entries(filter).map(([field, value]) => [`head.${field}`, value]))

export type ConversationLists = ReturnType<typeof createConversationLists>

/**
 * Lists of conversations, latest activity first. At most three queries each. What is stored to find them by is a little
 * behind, for participants up to a minute: pages follow that, and each is put into the exact order.
 */
export function createConversationLists({
  rows,
  reader,
}: {
  rows: Pick<Collections, 'conversations' | 'participants'>
  reader: ConversationReader
}) {
  const { conversations, participants } = rows

  /** Rows of a participant with their heads. */
  function own(
    match: Filter<ParticipantDocument>,
    filter: Filter<ConversationDocument>,
    sort: Record<string, 1 | -1>,
    limit: number,
  ): Promise<Row[]> {
    const withHead = [
      {
        $lookup: {
          from: conversations.collectionName,
          localField: 'cid',
          foreignField: '_id',
          as: 'head',
        },
      },
      { $unwind: '$head' },
      { $match: inHead({ deletedAt: { $exists: false }, ...filter }) },
    ]
    const enough = { $limit: limit }
    const filtered = Object.keys(filter).length > 0
    return participants
      .aggregate<Row>([
        // Rows written before there was `inactive` do without: they may belong to anything.
        { $match: { ...match, inactive: filter.status === 'active' ? { $exists: false } : ANY_STATUS } },
        { $sort: sort },
        ...(filtered ? [...withHead, enough] : [enough, ...withHead]),
      ])
      .toArray()
  }

  /** Binds cursors to the list, the filter and the caller, in few characters. */
  function named(caller: Caller, name: string, { status, tag, agentId, externalId }: ConversationFilter) {
    const binding = [caller.orgId, participantKey(caller), isAdmin(caller), status, tag, agentId, externalId]
    return [name, createHash('sha256').update(JSON.stringify(binding)).digest('base64url').slice(0, 16)]
  }

  async function everybodys(
    caller: Caller,
    name: string,
    filter: ConversationFilter,
    request: PageRequest,
  ): Promise<Page<Conversation>> {
    const { rows: heads, page } = await keysetPage<ConversationDocument>({
      ...request,
      list: named(caller, name, filter),
      by: ['updatedAt', '_id'],
      order: 'falling',
      stored: (at) => new Date(at),
      positionOf: ({ updatedAt, _id }) => [updatedAt.getTime(), _id.toHexString()],
      find: (beyond, sort, limit) =>
        conversations
          .find({ org: caller.orgId, deletedAt: { $exists: false }, ...filterOf(filter), ...beyond })
          .sort(sort)
          .limit(limit)
          .toArray(),
    })
    const states = await reader.states(heads, participantKey(caller))
    states.sort((a, b) => byActivity(a.head, b.head))
    return { data: states.map((state) => toConversation(state, state.own)), page }
  }

  async function mine(
    caller: Caller,
    name: string,
    filter: ConversationFilter,
    request: PageRequest,
    among: Filter<ParticipantDocument> = {},
  ): Promise<Page<Conversation>> {
    const key = participantKey(caller)
    const { rows: found, page } = await keysetPage<Row>({
      ...request,
      list: named(caller, name, filter),
      by: ['activityAt', 'cid'],
      order: 'falling',
      stored: (at) => new Date(at),
      positionOf: ({ activityAt, cid }) => [activityAt.getTime(), cid.toHexString()],
      find: (beyond, sort, limit) =>
        own({ org: caller.orgId, key, ...among, ...beyond }, filterOf(filter), sort, limit),
    })
    const states = await reader.states(
      found.map(({ head }) => head),
      null,
    )
    const listed = states.map((state, index) => ({ state, row: found[index] ?? null }))
    listed.sort((a, b) => byActivity(a.state.head, b.state.head))
    return { data: listed.map(({ state, row }) => toConversation(state, row)), page }
  }

  return {
    /** Those the caller takes part in; all of the org's for admins. */
    async list(
      caller: Caller,
      { limit, cursor, ...filter }: ListConversationsQuery,
    ): Promise<Page<Conversation>> {
      if (isAdmin(caller)) return everybodys(caller, 'conversations', filter, { limit, cursor })
      if (filter.externalId === undefined) return mine(caller, 'conversations', filter, { limit, cursor })
      // An external id names one conversation of the org: look there, not through all of the caller's. If there is
      // none, all the same, or the queries would tell.
      const head = await conversations.findOne(
        { org: caller.orgId, externalId: filter.externalId },
        { projection: { _id: 1 } },
      )
      const cid = head?._id ?? new ObjectId()
      return mine(caller, 'conversations', filter, { limit, cursor }, { cid })
    },

    /** Those the caller takes part in. */
    mine: (caller: Caller, request: PageRequest): Promise<Page<Conversation>> =>
      mine(caller, 'mine', {}, request),

    /** The agent's in which the caller takes part; all of them for admins. */
    ofAgent: (caller: Caller, agentId: string, request: PageRequest): Promise<Page<Conversation>> =>
      (isAdmin(caller) ? everybodys : mine)(caller, 'agent', { agentId }, request),

    /** The caller's active conversations, newest activity first, without the parts that only a full view needs. */
    async active(caller: Caller, limit: number): Promise<{ id: string; lastSeq: number }[]> {
      const match = { org: caller.orgId, key: participantKey(caller) }
      const found = await own(match, { status: 'active' }, { activityAt: -1, cid: -1 }, limit)
      const folded = await reader.current(found.map(({ head }) => head))
      return folded.sort(byActivity).map(({ _id, lastSeq }) => ({ id: _id.toHexString(), lastSeq }))
    },
  }
}
