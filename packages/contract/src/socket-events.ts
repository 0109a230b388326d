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
  afterSeq: Count.optional().meta({ description: 'The last seq handled; without it no messages are given' }),
  afterChangeSeq: Count.optional().meta({
    description: 'The last changeSeq handled; without it no changes are given',
  }),
})
export type JoinPayload = z.infer<typeof JoinPayload>

export const JoinResult = z.strictObject({
  lastSeq: Count.meta({ description: 'Live messages begin after this one' }),
  changeSeq: Count.meta({ description: 'Live changes begin after this one' }),
  readSeq: Count,
  unread: Count,
  messages: z.array(Message),
  hasMore: z
    .boolean()
    .meta({ description: 'Fetch what lies between these messages or changes and the live ones' }),
  changes: z.array(Change),
  receipts: z.array(Receipt),
  online: Online,
})
export type JoinResult = z.infer<typeof JoinResult>

const ConversationPayload = z.strictObject({ conversationId: Id })
const Empty = z.strictObject({})

const TypingPayload = z.strictObject({ conversationId: Id, isTyping: z.boolean() })
const ReadPayload = z.union([
  z.strictObject({ conversationId: Id, seq: Count }),
  z.strictObject({ conversationId: Id, messageId: Id }),
])
const CancelPayload = z.strictObject({ conversationId: Id, messageId: Id })
const RefreshPayload = z.strictObject({ token: z.string().min(1).max(16_384) })

export const StreamPayload = z.discriminatedUnion('op', [
  StreamStart.extend({ op: z.literal('start') }),
  z.strictObject({
    op: z.literal('delta'),
    messageId: Id,
    index: Count.meta({ description: 'UTF-16 units before this piece' }),
    text: z.string().max(LIMITS.contentBytes).meta({
      description: 'May begin or end within a surrogate pair; the whole has to be well-formed',
    }),
  }),
  StreamResult.extend({ op: z.literal('end'), messageId: Id }),
  z.strictObject({
    op: z.literal('abort'),
    messageId: Id,
    reason: TextOfLength(200).optional().meta({ description: 'Accepted, neither stored nor told' }),
  }),
])
export type StreamPayload = z.infer<typeof StreamPayload>

const StreamStarted = z.strictObject({
  messageId: Id,
  seq: Seq,
  index: Count.optional().meta({ description: 'Where to continue, in UTF-16 units, if it was under way' }),
  message: Message.optional().meta({ description: 'As it is stored, if it has ended' }),
})
/** Result of `message:stream`. */
export const StreamAck = z.union([
  StreamStarted.meta({ description: 'Of a start' }),
  StreamStarted.required({ message: true }).meta({ description: 'Of an end or abort' }),
  Empty.meta({ description: 'Of a delta' }),
])
export type StreamAck = z.infer<typeof StreamAck>

/** Every client event, with the schemas of its payload and of what its acknowledgement adds to `ok: true`. */
export const CLIENT_EVENTS = {
  'conversation:join': {
    summary: 'Follows a conversation from where the caller left it. Participants and admins.',
    payload: JoinPayload,
    result: JoinResult,
  },
  'conversation:leave': {
    summary: 'Follows it no longer. No effect on a socket that did not.',
    payload: ConversationPayload,
    result: Empty,
  },
  'conversation:online': {
    summary: 'Asks who has a socket in the room. Participants and admins; they need not have joined.',
    payload: ConversationPayload,
    result: Online,
  },
  'message:send': {
    summary:
      'Stores a message; acknowledged once it is on a majority. Owners and members; they need not have joined.',
    payload: CreateMessage,
    result: z.strictObject({ message: Message }),
  },
  'message:typing': {
    summary:
      'Shows the others in the room that the caller is writing, or no longer is. Participants who have joined.',
    payload: TypingPayload,
    result: Empty,
  },
  'message:read': {
    summary:
      'Moves how far the caller has read, forward only, to a seq or to that of a message. Participants; they need not have joined.',
    payload: ReadPayload,
    result: ReadResult,
  },
  'message:stream': {
    summary:
      'Streams an answer as it is produced: start, any number of deltas, then end or abort. Agents that are owner or member.',
    payload: StreamPayload,
    result: StreamAck,
  },
  'message:cancel': {
    summary: 'Ends an answer being streamed; the text so far is kept. Participants and admins.',
    payload: CancelPayload,
    result: Empty,
  },
  'auth:refresh': {
    summary: 'Shows a newer token of the same person, type and org: the socket lives on until that one ends.',
    payload: RefreshPayload,
    result: z.strictObject({ expiresAt: Timestamp }),
  },
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
  userId: OpaqueId.meta({ description: 'The same as participantId' }),
}

export const NewMessage = Message.extend({
  prevSeq: Count.meta({
    description:
      'Seq of the stored message before this one, 0 if none. Higher than what the client holds: something is missing',
  }),
})
export type NewMessage = z.infer<typeof NewMessage>

export const StreamUpdate = z.strictObject({
  conversationId: Id,
  messageId: Id,
  seq: Seq,
  op: z.enum(['snapshot', 'delta', 'end', 'cancelled', 'failed']),
  index: Count.meta({
    description: 'UTF-16 units before `text`; of `end`, `cancelled` and `failed` the length of the whole',
  }),
  text: z.string().optional().meta({ description: 'Of a snapshot all up to now, of a delta the next piece' }),
})
export type StreamUpdate = z.infer<typeof StreamUpdate>

/** Every event sent to clients, with the schema of its payload. */
export const SERVER_EVENTS = {
  'message:new': {
    summary: 'A message was stored. Everyone in the room, its author too.',
    payload: NewMessage,
  },
  'message:sent': {
    summary: 'A message sent by this socket was stored. The sending socket.',
    payload: z.strictObject({ clientMessageId: OpaqueId.nullable(), message: Message }),
  },
  'message:error': {
    summary: 'An event sent without an acknowledgement failed. The sending socket.',
    payload: Problem.extend({ event: z.string(), clientMessageId: OpaqueId.optional() }),
  },
  'message:updated': {
    summary: 'A message changed, in its latest state; also a streamed answer that has ended. The room.',
    payload: Message,
  },
  'message:deleted': { summary: 'What is left of a deleted message. The room.', payload: Message },
  'message:receipt': { summary: 'Somebody has read up to here. The room.', payload: Receipt },
  'message:stream': {
    summary:
      'The text of an answer being streamed: a snapshot for sockets that join midway, then pieces of it, then how it ended. The room.',
    payload: StreamUpdate,
  },
  'message:cancel': {
    summary: 'The answer was ended: write no more of it. The socket of the agent that streams it.',
    payload: CancelPayload,
  },
  'user:typing': {
    summary:
      'Somebody is writing or no longer is, in place of what was told before. It ends by itself after 6 s, which is told too, as long as the gateway lives: who shows it lets it end by themselves as well. The room, but not the typist’s own sockets.',
    payload: z.strictObject({ conversationId: Id, ...ParticipantFields, isTyping: z.boolean() }),
  },
  'user:joined': {
    summary: 'Somebody came into the room with their first socket. The room.',
    payload: z.strictObject({ conversationId: Id, ...ParticipantFields }),
  },
  'user:left': {
    summary: "Somebody's last socket left the room. The room.",
    payload: z.strictObject({ conversationId: Id, ...ParticipantFields }),
  },
  'presence:update': {
    summary:
      'Somebody came online or went offline. Sockets in a room of a conversation that they take part in.',
    payload: z.strictObject({
      ...ParticipantFields,
      status: z.enum(['online', 'offline']),
      at: Timestamp,
    }),
  },
  'conversation:updated': {
    summary: 'A conversation, its summary or its participants changed. The room.',
    payload: z.strictObject({
      conversationId: Id,
      changeSeq: Count,
      changed: z.array(ConversationField).meta({ description: 'Fields that may have changed' }),
      conversation: RoomConversation,
    }),
  },
  'conversation:added': {
    summary: 'Somebody was added. Their sockets.',
    payload: z.strictObject({ conversation: RoomConversation }),
  },
  'conversation:removed': {
    summary:
      'The conversation may no longer be followed; they are out of its room. The sockets of those concerned.',
    payload: z.strictObject({ conversationId: Id, reason: z.enum(['removed', 'deleted', 'revoked']) }),
  },
  'conversation:activity': {
    summary:
      'Something was written, at most once a second for each conversation of up to 50 people. Participants’ sockets, those that are not in the room.',
    payload: z.strictObject({ conversationId: Id, lastSeq: Count, lastMessage: LastMessage.nullable() }),
  },
  'conversation:ready': {
    summary:
      "An agent's own conversation, already joined, and its other active ones, newest first, at most 500. The agent's socket, as it connects.",
    payload: z.strictObject({
      conversation: Conversation,
      active: z.array(z.strictObject({ id: Id, lastSeq: Count })),
    }),
  },
  'room:aggregate': {
    summary:
      'Once a second in place of single events: receipts, comings and goings since the last one. The room, with more than 100 sockets on a gateway or more than 100 people.',
    payload: z.strictObject({
      conversationId: Id,
      receipts: z.array(Receipt),
      joined: z.array(ParticipantRef),
      left: z.array(ParticipantRef),
      online: z.array(ParticipantRef),
      offline: z.array(ParticipantRef),
    }),
  },
  resync: {
    summary:
      'Something is missing: fetch from the last seq and changeSeq. The room, or the one socket that reads too slowly.',
    payload: z.strictObject({
      conversationId: Id,
      reason: z.enum(['behind', 'slow_reader']).meta({
        description:
          '`behind`: more happened than the gateway catches up with; `slow_reader`: this socket reads too slowly, and is closed soon',
      }),
    }),
  },
  'auth:expiring': {
    summary: 'The token ends within a minute: answer with `auth:refresh`. That socket.',
    payload: z.strictObject({ expiresAt: Timestamp }),
  },
  'auth:expired': {
    summary: 'The token has ended, and the socket is closed. That socket.',
    payload: z.strictObject({ code: z.literal('token_expired') }),
  },
  'server:draining': {
    summary: 'This gateway is about to end: connect again after that time. All sockets.',
    payload: z.strictObject({ reconnectAfterMs: Count }),
  },
} as const
export type ServerEvent = keyof typeof SERVER_EVENTS
export type ServerPayload<E extends ServerEvent> = z.infer<(typeof SERVER_EVENTS)[E]['payload']>
export type ServerToClientEvents = { [E in ServerEvent]: (payload: ServerPayload<E>) => void }

/** `connect_error`'s `data`: why a handshake failed. */
export const ConnectErrorData = z
  .strictObject({
    code: z
      .enum(PROBLEM_CODES)
      .extract(['unauthenticated', 'token_expired', 'origin_not_allowed', 'overloaded']),
    reconnectAfterMs: Count.optional().meta({ description: 'There with `overloaded`: when to try again' }),
  })
  .meta({ id: 'ConnectErrorData' })
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
