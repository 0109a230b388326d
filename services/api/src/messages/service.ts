import type { KeyObject } from 'node:crypto'
import type { Permission } from '@parley/auth'
import {
  type Caller,
  type CreateMessage,
  isAdmin,
  LIMITS,
  type Message,
  type MessageRole,
  OpaqueId,
  type Page,
  type ParticipantRef,
  parseParticipantKey,
  participantKey,
  problem,
} from '@parley/contract'
import type { Filter } from 'mongodb'
import { ObjectId } from 'mongodb'
import type { Collections, MessageDocument, MessageRow } from '../database/collections.ts'
import type { Pricing } from '../money/prices.ts'
import type { Access, Accessed } from '../participants/access.ts'
import { assertAttachments } from './attachments.ts'
import type { MessageLog } from './log.ts'
import { draftOf, toMessage } from './message.ts'
import type { MessagePages, SeqRange } from './pages.ts'
import { statistics } from './statistics.ts'

/** The roles that a caller's messages may have. */
const rolesOf = (caller: Caller): MessageRole[] => {
  const own: MessageRole[] = caller.type === 'agent' ? ['assistant', 'tool'] : ['user']
  return isAdmin(caller) ? [...own, 'system'] : own
}

/** @throws ProblemError `role_not_allowed` if the caller may not use a role or field */
function assertOwnRole(caller: Caller, body: Pick<CreateMessage, 'role' | 'usage' | 'model'>): void {
  if (!rolesOf(caller).includes(body.role)) {
    throw problem('role_not_allowed', {
      errors: [{ pointer: '/role', detail: `must be ${rolesOf(caller).join(' or ')}` }],
    })
  }
  if (caller.type === 'agent') return
  for (const field of ['usage', 'model'] as const) {
    if (body[field] !== undefined && body[field] !== null) {
      throw problem('role_not_allowed', {
        errors: [{ pointer: `/${field}`, detail: 'only agents may set it' }],
      })
    }
  }
}

/** The idempotency key of a send, from its header, its body, or both. */
function keyed(body: CreateMessage, header: string | undefined): CreateMessage {
  if (header === undefined) return body
  const key = OpaqueId.safeParse(header)
  if (!key.success || (body.clientMessageId !== undefined && body.clientMessageId !== key.data)) {
    throw problem('validation_failed', {
      detail: 'Idempotency-Key must be 1–128 characters, and equal clientMessageId if both are given',
      errors: [{ pointer: '/clientMessageId', detail: 'must equal the header Idempotency-Key' }],
    })
  }
  return { ...body, clientMessageId: key.data }
}

export interface MessageServiceOptions {
  messages: Collections['messages']
  log: MessageLog
  pages: MessagePages
  access: Access
  pricing: Pricing
  hashKey: KeyObject
}

export type MessageService = ReturnType<typeof createMessageService>

/** What callers can do with messages, except deleting, which is a change: see delete.ts. */
export function createMessageService({
  messages,
  log,
  pages,
  access,
  pricing,
  hashKey,
}: MessageServiceOptions) {
  /** The message and its conversation, if the caller may see them; the same queries whether it exists or not. */
  async function find(
    caller: Caller,
    id: string,
    permission: Permission,
  ): Promise<{ row: MessageDocument; accessed: Accessed }> {
    const row = await pages.byId(caller.orgId, new ObjectId(id))
    const subject: ParticipantRef | undefined = row ? parseParticipantKey(row.author) : undefined
    const accessed = await access.require(caller, row?.cid ?? new ObjectId(), permission, subject)
    if (!row) throw problem('not_found')
    return { row, accessed }
  }

  async function list(
    caller: Caller,
    cid: string,
    name: string[],
    filter: Filter<MessageRow>,
    { limit = LIMITS.defaultPageSize, ...range }: SeqRange & { limit?: number | undefined },
  ): Promise<Page<Message>> {
    const { head } = await access.require(caller, cid, 'message:list')
    return pages.page(head, name, filter, range, limit)
  }

  return {
    find,

    /**
     * Stores a message, once for each idempotency key. Resolves when it is on a majority.
     * @throws ProblemError role_not_allowed, invalid_attachment, validation_failed, and those of the log
     */
    create(caller: Caller, request: CreateMessage, idempotencyKey: string | undefined) {
      const body = keyed(request, idempotencyKey)
      assertOwnRole(caller, body)
      if (body.attachments) assertAttachments(body.attachments)
      return log.append({
        org: caller.orgId,
        cid: new ObjectId(body.conversationId),
        draft: draftOf(participantKey(caller), body, pricing, hashKey),
        admin: isAdmin(caller),
      })
    },

    list: (caller: Caller, cid: string, query: SeqRange & { limit?: number | undefined }) =>
      list(caller, cid, ['messages'], {}, query),

    listByRole: (
      caller: Caller,
      cid: string,
      role: MessageRole,
      query: { limit?: number | undefined; cursor?: string | undefined },
    ) => list(caller, cid, ['role', role], { role, deletedAt: { $exists: false } }, query),

    listWithAttachments: (
      caller: Caller,
      cid: string,
      query: { limit?: number | undefined; cursor?: string | undefined },
    ) =>
      list(
        caller,
        cid,
        ['attachments'],
        { 'attachments.0': { $exists: true }, deletedAt: { $exists: false } },
        query,
      ),

    async last(caller: Caller, cid: string, count: number): Promise<{ data: Message[] }> {
      const { head } = await access.require(caller, cid, 'message:list')
      return { data: await pages.last(head, count) }
    },

    async statistics(caller: Caller, cid: string) {
      const { head } = await access.require(caller, cid, 'message:statistics')
      return statistics(messages, head._id, await pages.decided(head))
    },

    async get(caller: Caller, id: string): Promise<Message> {
      const { row } = await find(caller, id, 'message:read')
      return toMessage(row)
    },

    /** A message and the answers to it. */
    async thread(
      caller: Caller,
      id: string,
      { limit = LIMITS.defaultPageSize, cursor }: { limit?: number | undefined; cursor?: string | undefined },
    ) {
      const { row, accessed } = await find(caller, id, 'message:read')
      const page = await pages.page(accessed.head, ['thread', id], { parentId: row._id }, { cursor }, limit)
      return { parent: toMessage(row), ...page }
    },
  }
}
