import { z } from 'zod'
import { Caller, ParticipantRef, ParticipantType } from './identity.ts'
import { LIMITS } from './limits.ts'
import { Count, Id, OpaqueId, TextOfBytes } from './primitives.ts'
import { StreamResult, StreamStart } from './requests.ts'
import { Change, Conversation, ConversationStatus, Message, ParticipantRole, Receipt } from './resources.ts'

/**
 * Calls between the services themselves, under a token of `SERVICE_SECRET`; not part of the public interface.
 * All are POST with a JSON body, below `/internal`.
 */

/** `/internal/join`: may this caller follow the conversation, and from where. 404 as for any reader. */
export const InternalJoin = z.strictObject({
  caller: Caller,
  conversationId: Id,
  afterSeq: Count.optional(),
  afterChangeSeq: Count.optional(),
  /** Also list everyone who takes part; asked when a gateway opens the room. */
  members: z.boolean().optional(),
})
export const InternalJoinResult = z.strictObject({
  status: ConversationStatus,
  /** null: an admin who takes no part. */
  role: ParticipantRole.nullable(),
  participantCount: Count,
  /** Seq of the last stored message. */
  lastSeq: Count,
  /** Every number up to here is stored or void; at least lastSeq. */
  throughSeq: Count,
  changeSeq: Count,
  readSeq: Count,
  unread: Count,
  messages: z.array(Message),
  changes: z.array(Change),
  hasMore: z.boolean(),
  receipts: z.array(Receipt),
  members: z.array(ParticipantRef).optional(),
})
export type InternalJoinResult = z.infer<typeof InternalJoinResult>

/** `/internal/fill`: what a room missed; 404 where the conversation is gone. */
export const InternalFill = z.strictObject({
  conversationId: Id,
  afterSeq: Count,
  afterChangeSeq: Count,
  /** Messages, and changes, at most; 1–500. */
  limit: z.int().min(1).max(500),
})
export const InternalFillResult = z.strictObject({
  messages: z.array(Message),
  changes: z.array(Change),
  /** Every number up to here is in `messages` or void. */
  throughSeq: Count,
  throughChangeSeq: Count,
  /** The conversation's own figures; beyond through… there is more to fill. */
  lastSeq: Count,
  changeSeq: Count,
  hasMore: z.boolean(),
  receipts: z.array(Receipt),
})
export type InternalFillResult = z.infer<typeof InternalFillResult>

/** `/internal/heads`: where up to 1,000 conversations stand; those that are gone are left out. */
export const InternalHeads = z.strictObject({ ids: z.array(Id).max(1_000) })
export const InternalHead = z.strictObject({ id: Id, lastSeq: Count, throughSeq: Count, changeSeq: Count })
export const InternalHeadsResult = z.strictObject({ heads: z.array(InternalHead) })
export type InternalHead = z.infer<typeof InternalHead>

/** `/internal/authorize`: who of these may still follow the conversation, in the order asked. */
export const InternalAuthorize = z.strictObject({
  conversationId: Id,
  callers: z.array(Caller).max(1_000),
})
export const InternalAuthorizeResult = z.strictObject({ allowed: z.array(z.boolean()) })

/** `/internal/relations`: does the caller share a conversation with this participant (always true for admins). */
export const InternalRelation = z.strictObject({ caller: Caller, type: ParticipantType, id: OpaqueId })
export const InternalRelationResult = z.strictObject({ shared: z.boolean() })

/** `/internal/agents/ready`: the agent's auto conversation, found or made, and its other active ones, newest first. */
export const InternalAgentReady = z.strictObject({ caller: Caller })
export const InternalAgentReadyResult = z.strictObject({
  conversation: Conversation,
  active: z.array(z.strictObject({ id: Id, lastSeq: Count })).max(500),
})
export type InternalAgentReadyResult = z.infer<typeof InternalAgentReadyResult>

/** `/internal/revocations`: all that are in force. */
export const Revocation = z.strictObject({
  orgId: OpaqueId,
  type: ParticipantType,
  id: OpaqueId,
  /** Tokens issued at or before this second (since 1970) are void. */
  before: z.int(),
})
export type Revocation = z.infer<typeof Revocation>
export const InternalRevocationsResult = z.strictObject({ revocations: z.array(Revocation) })

/** `/internal/streams/start`: 201, or 200 with what the same key started before. */
export const InternalStreamStart = z.strictObject({ caller: Caller, start: StreamStart })
export const InternalStreamStartResult = z.strictObject({ message: Message, created: z.boolean() })

/** `/internal/streams/checkpoint`: stores the text so far, the sign of life of a stream. `live` false: it has ended. */
export const InternalStreamCheckpoint = z.strictObject({
  conversationId: Id,
  messageId: Id,
  content: TextOfBytes(LIMITS.contentBytes),
})
export const InternalStreamCheckpointResult = z.strictObject({ live: z.boolean() })

/** `/internal/streams/finish`: ends a stream once; who comes later gets the stored message and `won` false. */
export const InternalStreamFinish = z.strictObject({
  conversationId: Id,
  messageId: Id,
  status: z.enum(['sent', 'failed', 'cancelled']),
  result: StreamResult,
  /** Who ended it; checked to be the author for `sent` and `failed`, to take part for `cancelled`; null: the service. */
  caller: Caller.nullable(),
})
export const InternalStreamFinishResult = z.strictObject({ message: Message, won: z.boolean() })
