import { z } from 'zod'
import { ParticipantRef, ParticipantType } from './identity.ts'
import { LIMITS } from './limits.ts'
import { Count, Id, OpaqueId, Seq, TextOfLength, Timestamp } from './primitives.ts'
import { PROBLEM_CODES, Problem } from './problems.ts'
import { CreateMessage, ReadResult, StreamResult, StreamStart } from './requests.ts'
import {
  Change,
  Conversation,
  ConversationField,
  LastMessage,
  Message,
  Receipt,
  RoomConversation,
} from './resources.ts'

/** The namespace that clients connect to. */
export const CHAT_NAMESPACE = '/chat'

export const Online = z.strictObject({ users: z.array(OpaqueId), agents: z.array(OpaqueId) })
export type Online = z.infer<typeof Online>

// Client → server

export const JoinPayload = z.strictObject({
  conversationId: Id,
  afterSeq: Count.optional(),
  afterChangeSeq: Count.optional(),
})
export type JoinPayload = z.infer<typeof JoinPayload>

export const JoinResult = z.strictObject({
  lastSeq: Count,
  changeSeq: Count,
  readSeq: Count,
  unread: Count,
  messages: z.array(Message),
  hasMore: z.boolean(),
  changes: z.array(Change),
  receipts: z.array(Receipt),
  online: Online,
})
export type JoinResult = z.infer<typeof JoinResult>

const ConversationPayload = z.strictObject({ conversationId: Id })
const Empty = z.strictObject({})

export const TypingPayload = z.strictObject({ conversationId: Id, isTyping: z.boolean() })
export const ReadPayload = z.union([
  z.strictObject({ conversationId: Id, seq: Count }),
  z.strictObject({ conversationId: Id, messageId: Id }),
])
export const CancelPayload = z.strictObject({ conversationId: Id, messageId: Id })
export const RefreshPayload = z.strictObject({ token: z.string().min(1).max(16_384) })

export const StreamPayload = z.discriminatedUnion('op', [
  StreamStart.extend({ op: z.literal('start') }),
  z.strictObject({
    op: z.literal('delta'),
    messageId: Id,
    index: Count,
    /** May begin or end within a surrogate pair; the whole has to be well-formed. */
    text: z.string().max(LIMITS.contentBytes),
  }),
  StreamResult.extend({ op: z.literal('end'), messageId: Id }),
  z.strictObject({ op: z.literal('abort'), messageId: Id, reason: TextOfLength(200).optional() }),
])
export type StreamPayload = z.infer<typeof StreamPayload>

/** Result of `message:stream`: of a start the message's id and seq, and where to go on if it was under way. */
export const StreamAck = z.strictObject({
  messageId: Id.optional(),
  seq: Seq.optional(),
  index: Count.optional(),
  message: Message.optional(),
})
export type StreamAck = z.infer<typeof StreamAck>

/** Every client event with the schema of its payload and of what its acknowledgement adds to `ok: true`. */
export const CLIENT_EVENTS = {
  'conversation:join': { payload: JoinPayload, result: JoinResult },
  'conversation:leave': { payload: ConversationPayload, result: Empty },
  'conversation:online': { payload: ConversationPayload, result: Online },
  'message:send': { payload: CreateMessage, result: z.strictObject({ message: Message }) },
  'message:typing': { payload: TypingPayload, result: Empty },
  'message:read': { payload: ReadPayload, result: ReadResult },
  'message:stream': { payload: StreamPayload, result: StreamAck },
  'message:cancel': { payload: CancelPayload, result: Empty },
  'auth:refresh': { payload: RefreshPayload, result: z.strictObject({ expiresAt: Timestamp }) },
} as const
export type ClientEvent = keyof typeof CLIENT_EVENTS
export type ClientPayload<E extends ClientEvent> = z.input<(typeof CLIENT_EVENTS)[E]['payload']>
export type ClientResult<E extends ClientEvent> = z.infer<(typeof CLIENT_EVENTS)[E]['result']>
export type Ack<T> = ({ ok: true } & T) | { ok: false; error: Problem }

export type ClientToServerEvents = {
  [E in ClientEvent]: (payload: ClientPayload<E>, ack?: (answer: Ack<ClientResult<E>>) => void) => void
}

// Server → client

const ParticipantFields = {
  participantType: ParticipantType,
  participantId: OpaqueId,
  /** Repeats participantId for clients of the original interface. */
  userId: OpaqueId,
}

/** `prevSeq`: the seq of the stored message before this one, 0 if none. */
export const NewMessage = Message.extend({ prevSeq: Count })
export type NewMessage = z.infer<typeof NewMessage>

export const StreamUpdate = z.strictObject({
  conversationId: Id,
  messageId: Id,
  seq: Seq,
  op: z.enum(['snapshot', 'delta', 'end', 'cancelled', 'failed']),
  /** UTF-16 offset of `text` in the whole; for the last three ops the whole's length. */
  index: Count,
  text: z.string().optional(),
})
export type StreamUpdate = z.infer<typeof StreamUpdate>

export const SERVER_EVENTS = {
  'message:new': NewMessage,
  'message:sent': z.strictObject({ clientMessageId: OpaqueId.nullable(), message: Message }),
  'message:error': Problem.extend({ event: z.string(), clientMessageId: OpaqueId.optional() }),
  'message:updated': Message,
  'message:deleted': Message,
  'message:receipt': Receipt,
  'message:stream': StreamUpdate,
  'message:cancel': CancelPayload,
  'user:typing': z.strictObject({ conversationId: Id, ...ParticipantFields, isTyping: z.boolean() }),
  'user:joined': z.strictObject({ conversationId: Id, ...ParticipantFields }),
  'user:left': z.strictObject({ conversationId: Id, ...ParticipantFields }),
  'presence:update': z.strictObject({
    ...ParticipantFields,
    status: z.enum(['online', 'offline']),
    at: Timestamp,
  }),
  'conversation:updated': z.strictObject({
    conversationId: Id,
    changeSeq: Count,
    changed: z.array(ConversationField),
    conversation: RoomConversation,
  }),
  'conversation:added': z.strictObject({ conversation: RoomConversation }),
  'conversation:removed': z.strictObject({
    conversationId: Id,
    reason: z.enum(['removed', 'deleted', 'revoked']),
  }),
  'conversation:activity': z.strictObject({
    conversationId: Id,
    lastSeq: Count,
    lastMessage: LastMessage.nullable(),
  }),
  'conversation:ready': z.strictObject({
    conversation: Conversation,
    active: z.array(z.strictObject({ id: Id, lastSeq: Count })),
  }),
  /**
   * With more than 100 sockets on a gateway, or people in the room, once a second: all receipts and comings and goings
   * since the last one.
   */
  'room:aggregate': z.strictObject({
    conversationId: Id,
    receipts: z.array(Receipt),
    joined: z.array(ParticipantRef),
    left: z.array(ParticipantRef),
    online: z.array(ParticipantRef),
    offline: z.array(ParticipantRef),
  }),
  resync: z.strictObject({ conversationId: Id, reason: z.string() }),
  'auth:expiring': z.strictObject({ expiresAt: Timestamp }),
  'auth:expired': z.strictObject({ code: z.literal('token_expired') }),
  'server:draining': z.strictObject({ reconnectAfterMs: Count }),
} as const
export type ServerEvent = keyof typeof SERVER_EVENTS
export type ServerPayload<E extends ServerEvent> = z.infer<(typeof SERVER_EVENTS)[E]>
export type ServerToClientEvents = { [E in ServerEvent]: (payload: ServerPayload<E>) => void }

/** `connect_error`'s `data`: why a handshake failed; with `overloaded` always when to try again. */
export const ConnectErrorData = z.strictObject({
  code: z
    .enum(PROBLEM_CODES)
    .extract(['unauthenticated', 'token_expired', 'origin_not_allowed', 'overloaded']),
  reconnectAfterMs: Count.optional(),
})
export type ConnectErrorData = z.infer<typeof ConnectErrorData>

/** `GET /presence/:type/:id` of the gateway. */
export const Presence = z
  .strictObject({
    type: ParticipantType,
    id: OpaqueId,
    status: z.enum(['online', 'offline']),
    at: Timestamp.nullable(),
  })
  .meta({ id: 'Presence' })
export type Presence = z.infer<typeof Presence>
