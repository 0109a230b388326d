import { createHmac, type KeyObject } from 'node:crypto'
import { type CreateMessage, type Message, type PublishedEvent, parseParticipantKey } from '@parley/contract'
import { ObjectId } from 'mongodb'
import { isVoid, type MessageDocument, type MessageRow } from '../database/collections.ts'

/** A message before it has a number. */
export type MessageDraft = Omit<MessageDocument, 'cid' | 'org' | 'seq' | 'unsettled' | 'createdAt'>

/** A stored message as clients see it; a deleted one as its tombstone. */
export function toMessage(row: MessageDocument): Message {
  const author = parseParticipantKey(row.author)
  const createdAt = row.createdAt.toISOString()
  const deleted = row.deletedAt !== undefined
  return {
    id: row._id.toHexString(),
    conversationId: row.cid.toHexString(),
    seq: row.seq,
    changeSeq: row.changeSeq ?? 0,
    type: row.type,
    role: row.role,
    status: row.status,
    participantType: author.type,
    participantId: author.id,
    parentId: row.parentId?.toHexString() ?? null,
    content: deleted ? '' : row.content,
    attachments: deleted ? [] : (row.attachments ?? []),
    thinking: deleted ? null : (row.thinking ?? null),
    toolCalls: deleted ? [] : (row.toolCalls ?? []),
    toolCallId: row.toolCallId ?? null,
    usage: row.usage ?? null,
    model: row.model ?? null,
    cost: (row.costMicros ?? 0) / 1e6,
    metadata: row.metadata ?? {},
    clientMessageId: row.clientMessageId ?? null,
    createdAt,
    createdBy: author,
    updatedAt: row.updatedAt?.toISOString() ?? createdAt,
    updatedBy: row.updatedBy === undefined ? author : parseParticipantKey(row.updatedBy),
    deletedAt: row.deletedAt?.toISOString() ?? null,
  }
}

/** A row's entry on the stream, with its current state; `json`: the message as text, if at hand. */
export function eventOf(row: MessageRow, to: string[] | undefined, json?: string): PublishedEvent {
  const event: PublishedEvent = {
    type: isVoid(row) ? 'message.void' : 'message.created',
    org: row.org,
    cid: row.cid.toHexString(),
    seq: row.seq,
    data: isVoid(row) ? 'null' : (json ?? JSON.stringify(toMessage(row))),
  }
  if (to) event.to = to
  return event
}

/** JSON with the keys of every object sorted, so that equal payloads have equal text. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  )
}

/**
 * Hash by which a repeat under the same idempotency key is compared. Keyed, so that the text of a deleted message can't
 * be guessed from the hash that stays.
 */
export const payloadHash = (key: KeyObject, payload: unknown): string =>
  createHmac('sha256', key).update(canonical(payload)).digest('base64url')

/** Tool calls of a request as they are stored. */
export const toolCallsOf = (
  calls: NonNullable<CreateMessage['toolCalls']>,
): NonNullable<MessageDocument['toolCalls']> =>
  calls.map(({ id, name, arguments: args, result }) => ({
    id,
    name,
    arguments: args ?? null,
    ...(result === undefined ? {} : { result }),
  }))

/** The fields of a draft that a request sets; who may set which has been checked before. */
export function draftOf(
  author: string,
  body: CreateMessage,
  costOf: (usage: NonNullable<MessageDocument['usage']> | undefined, model: string | undefined) => number,
  hashKey: KeyObject,
): MessageDraft {
  const { clientMessageId } = body
  const usage = body.usage ? { ...body.usage, totalTokens: totalOf(body.usage) } : undefined
  const draft: MessageDraft = {
    _id: new ObjectId(),
    author,
    role: body.role,
    type: body.type ?? (body.role === 'tool' ? 'tool' : body.role === 'system' ? 'system' : 'text'),
    status: 'sent',
    content: body.content,
  }
  if (body.parentId) draft.parentId = new ObjectId(body.parentId)
  if (body.attachments?.length) draft.attachments = body.attachments
  if (body.thinking) draft.thinking = body.thinking
  if (body.toolCalls?.length) draft.toolCalls = toolCallsOf(body.toolCalls)
  if (body.toolCallId) draft.toolCallId = body.toolCallId
  if (body.model) draft.model = body.model
  if (body.metadata && Object.keys(body.metadata).length > 0) draft.metadata = body.metadata
  if (usage) draft.usage = usage
  if (clientMessageId !== undefined) {
    // Made from what is stored, not what was sent: a default left out or spelled out is the same payload.
    const { _id, author: _author, ...payload } = draft
    draft.clientMessageId = clientMessageId
    draft.payloadHash = payloadHash(hashKey, payload)
  }
  if (usage) draft.costMicros = costOf(usage, body.model ?? undefined)
  return draft
}

export const totalOf = (usage: {
  inputTokens: number
  outputTokens: number
  totalTokens?: number | undefined
}) => usage.totalTokens ?? usage.inputTokens + usage.outputTokens
