import {
  type Caller,
  type Conversation,
  type ConversationField,
  type ConversationStatus,
  type CreateConversation,
  LIMITS,
  participantKey,
  problem,
  type ReadResult,
  type UpdateConversation,
} from '@parley/contract'
import type { ObjectId } from 'mongodb'
import { recheckAllowed } from '../changes/authorize.ts'
import type { Changes } from '../changes/changes.ts'
import type { Collections, ConversationDocument } from '../database/collections.ts'
import type { Access } from '../participants/access.ts'
import type { ReadPositions } from '../participants/read-positions.ts'
import type { AutoConversations } from './auto.ts'
import { toConversation } from './conversation.ts'
import type { ConversationMaker } from './create.ts'
import { findOrMake } from './find-or-make.ts'
import type { ConversationLists } from './lists.ts'
import type { ConversationReader } from './reader.ts'

/**
 * Conversations named to an agent that connects, besides its own: as many as its socket may be in including that one.
 */
const MAX_ACTIVE = LIMITS.roomsPerSocket - 1

export interface ConversationServiceOptions {
  conversations: Collections['conversations']
  access: Access
  reader: ConversationReader
  lists: ConversationLists
  make: ConversationMaker
  auto: AutoConversations
  changes: Changes
  readPositions: ReadPositions
}

export type ConversationService = ReturnType<typeof createConversationService>

/** What callers can do with conversations. */
export function createConversationService(options: ConversationServiceOptions) {
  const { conversations, access, reader, lists, make, auto, changes, readPositions } = options

  /** The conversation as the caller sees it, from its head as read or committed just now. */
  async function view(caller: Caller, head: ConversationDocument): Promise<Conversation> {
    const [state] = await reader.states([head], participantKey(caller))
    if (!state) throw problem('not_found')
    return toConversation(state, state.own)
  }

  /** The org's conversation with this external id, for a participant; null if there is none. */
  async function known(caller: Caller, externalId: string): Promise<Conversation | null> {
    const head = await conversations.findOne({ org: caller.orgId, externalId })
    if (!head) return null
    const conversation = await view(caller, head)
    if (conversation.me) return conversation
    // Nobody takes part in one that was deleted after its head was read, and its name is free again.
    const still = await conversations.findOne({ _id: head._id, externalId }, { projection: { _id: 1 } })
    if (!still) return null
    throw problem('conflict', { detail: 'The externalId is in use' })
  }

  /**
   * Makes a conversation with the caller as its owner, or finds the one that has the external id.
   * @throws ProblemError conflict (the external id is in use where the caller takes no part)
   */
  async function create(
    caller: Caller,
    { participants = [], ...wanted }: CreateConversation,
  ): Promise<{ conversation: Conversation; created: boolean }> {
    const { agentId, externalId } = wanted
    const { value: conversation, created } = await findOrMake(
      async () => (externalId === undefined ? null : known(caller, externalId)),
      async () => {
        const made = await make({
          ...wanted,
          by: caller,
          participants: [
            { type: caller.type, id: caller.id, role: 'owner' },
            ...participants.map(({ type, id, role = 'member' }) => ({ type, id, role })),
            ...(agentId === undefined
              ? []
              : [{ type: 'agent' as const, id: agentId, role: 'member' as const }]),
          ],
        })
        return made && toConversation(made, made.own)
      },
    )
    return { conversation, created }
  }

  /** Replaces the fields given; null clears. A field that already has the value does not count as changed. */
  async function update(
    caller: Caller,
    cid: string,
    fields: UpdateConversation,
    permission: 'conversation:update' | 'conversation:status' = 'conversation:update',
  ): Promise<Conversation> {
    const { head } = await access.require(caller, cid, permission)
    const applied = await changes.apply(head._id, {
      by: participantKey(caller),
      async run(transaction) {
        await recheckAllowed(transaction, caller, permission)
        const { changed, before, after } = edit(transaction.head, fields)
        if (changed.length === 0) return { value: undefined }
        return {
          value: undefined,
          effect: { kind: 'conversation.updated', action: actionOf(changed, after), changed, before, after },
        }
      },
    })
    return view(caller, applied.head)
  }

  async function get(caller: Caller, cid: ObjectId | string): Promise<Conversation> {
    const { head } = await access.require(caller, cid, 'conversation:read')
    return view(caller, head)
  }

  return {
    create,
    update,
    get,

    setStatus: (caller: Caller, cid: string, status: ConversationStatus): Promise<Conversation> =>
      update(caller, cid, { status }, 'conversation:status'),

    /** Deletes the conversation for everybody. Its messages stay in the database, out of everyone's reach. */
    async remove(caller: Caller, cid: string): Promise<void> {
      const { head } = await access.require(caller, cid, 'conversation:delete')
      await changes.apply(head._id, {
        by: participantKey(caller),
        async run(transaction) {
          await recheckAllowed(transaction, caller, 'conversation:delete')
          const draft = transaction.head
          const { title, status, externalId = null } = draft
          const everyone = await transaction.participants()
          for (const { key } of everyone) await transaction.removeParticipant(key)
          draft.deletedAt = transaction.now
          // Names that are unique in an org become free again.
          delete draft.externalId
          delete draft.auto
          delete draft.summaryDue
          return {
            value: undefined,
            effect: {
              kind: 'conversation.deleted',
              action: 'conversation.delete',
              to: everyone.map(({ key }) => key),
              before: {
                title,
                status,
                externalId,
                participants: everyone.map(({ key, role }) => ({ key, role })),
              },
              after: { deleted: true },
            },
          }
        },
      })
    },

    /** Moves the caller's read position forward, at most to the last message. */
    async markRead(caller: Caller, cid: string, seq: number): Promise<ReadResult> {
      const { head } = await access.require(caller, cid, 'conversation:mark-read')
      const key = participantKey(caller)
      const [[current], before] = await Promise.all([
        reader.current([head]),
        readPositions.position(head._id, key),
      ])
      const lastSeq = current?.lastSeq ?? head.lastSeq
      if (!before) throw problem('not_found')
      const readSeq = Math.max(before.seq, Math.min(seq, lastSeq))
      const position = { ...before, cid: head._id, org: head.org, key, seq: readSeq }
      if (readSeq > before.seq) await readPositions.mark(position)
      else readPositions.repeat(position)
      return { readSeq, unread: Math.max(0, lastSeq - readSeq) }
    },

    /** The agent's one active auto conversation, found or made. */
    async auto(caller: Caller, agentId: string): Promise<{ conversation: Conversation; created: boolean }> {
      const { state, created } = await auto(caller, agentId)
      const isTheirs = caller.type === 'agent' && caller.id === agentId
      const conversation = isTheirs ? toConversation(state, state.own) : await get(caller, state.head._id)
      return { conversation, created }
    },

    /** What an agent is told on connecting: its auto conversation, and its other active ones, newest first. */
    async agentReady(caller: Caller) {
      const { state } = await auto(caller, caller.id)
      const conversation = toConversation(state, state.own)
      const active = await lists.active(caller, MAX_ACTIVE + 1)
      const others = active.filter(({ id }) => id !== conversation.id)
      return { conversation, active: others.slice(0, MAX_ACTIVE) }
    },
  }
}

function edit(head: ConversationDocument, fields: UpdateConversation) {
  const changed: ConversationField[] = []
  const before: Record<string, unknown> = {}
  const after: Record<string, unknown> = {}
  const note = (field: ConversationField, was: unknown, is: unknown): boolean => {
    if (JSON.stringify(was) === JSON.stringify(is)) return false
    changed.push(field)
    before[field] = was
    after[field] = is
    return true
  }
  const { title, description, status, tags, metadata } = fields
  if (title !== undefined && note('title', head.title, title ?? '')) head.title = title ?? ''
  if (description !== undefined && note('description', head.description ?? null, description || null)) {
    if (description) head.description = description
    else delete head.description
  }
  if (tags !== undefined && note('tags', head.tags, tags ?? [])) head.tags = tags ?? []
  if (metadata !== undefined && note('metadata', head.metadata, metadata ?? {}))
    head.metadata = metadata ?? {}
  if (status !== undefined && note('status', head.status, status)) {
    head.status = status
    // The next request for an active one makes another; this one stays an ordinary conversation, even if reopened.
    if (status !== 'active') delete head.auto
  }
  return { changed, before, after }
}

const STATUS_ACTIONS: Record<ConversationStatus, string> = {
  active: 'conversation.reopen',
  archived: 'conversation.archive',
  closed: 'conversation.close',
}

const actionOf = (changed: string[], { status }: Record<string, unknown>): string =>
  changed.length === 1 && (status === 'active' || status === 'archived' || status === 'closed')
    ? STATUS_ACTIONS[status]
    : 'conversation.update'
