import { z } from 'zod'
import { ParticipantRef, ParticipantType } from './identity.ts'
import { Count, Id, OpaqueId, Seq, Timestamp } from './primitives.ts'

export const ParticipantRole = z.enum(['owner', 'member', 'observer'])
export type ParticipantRole = z.infer<typeof ParticipantRole>

export const Participant = z
  .strictObject({
    type: ParticipantType,
    id: OpaqueId,
    role: ParticipantRole,
    name: z.string().nullable(),
    avatarUrl: z.string().nullable(),
    joinedAt: Timestamp,
    readSeq: Count,
  })
  .meta({ id: 'Participant' })
export type Participant = z.infer<typeof Participant>

export const Usage = z
  .strictObject({ inputTokens: Count, outputTokens: Count, totalTokens: Count })
  .meta({ id: 'Usage' })
export type Usage = z.infer<typeof Usage>

export const MessageRole = z.enum(['user', 'assistant', 'system', 'tool'])
export type MessageRole = z.infer<typeof MessageRole>
export const MessageType = z.enum(['text', 'image', 'audio', 'file', 'tool', 'system'])
export type MessageType = z.infer<typeof MessageType>
export const MessageStatus = z.enum(['sent', 'streaming', 'failed', 'cancelled'])
export type MessageStatus = z.infer<typeof MessageStatus>
export const ConversationStatus = z.enum(['active', 'archived', 'closed'])
export type ConversationStatus = z.infer<typeof ConversationStatus>

export const ToolCall = z
  .strictObject({
    id: z.string(),
    name: z.string(),
    arguments: z.unknown(),
    result: z.unknown().optional(),
  })
  .meta({ id: 'ToolCall' })
export type ToolCall = z.infer<typeof ToolCall>

export const Message = z
  .strictObject({
    id: Id,
    conversationId: Id,
    seq: Seq,
    changeSeq: Count,
    type: MessageType,
    role: MessageRole,
    status: MessageStatus,
    participantType: ParticipantType,
    participantId: OpaqueId,
    parentId: Id.nullable(),
    content: z.string(),
    attachments: z.array(z.string()),
    thinking: z.string().nullable(),
    toolCalls: z.array(ToolCall),
    toolCallId: z.string().nullable(),
    usage: Usage.nullable(),
    model: z.string().nullable(),
    cost: z.number().min(0).meta({ description: 'US dollars, exact to a millionth' }),
    metadata: z.record(z.string(), z.unknown()),
    clientMessageId: z.string().nullable(),
    createdAt: Timestamp,
    createdBy: ParticipantRef,
    updatedAt: Timestamp,
    updatedBy: ParticipantRef,
    deletedAt: Timestamp.nullable(),
  })
  .meta({ id: 'Message' })
export type Message = z.infer<typeof Message>

export const LastMessage = z
  .strictObject({
    id: Id,
    seq: Seq,
    role: MessageRole,
    participantType: ParticipantType,
    participantId: OpaqueId,
    preview: z.string(),
    createdAt: Timestamp,
  })
  .meta({ id: 'LastMessage' })
export type LastMessage = z.infer<typeof LastMessage>

export const Membership = z.strictObject({ role: ParticipantRole, readSeq: Count, unread: Count })
export type Membership = z.infer<typeof Membership>

export const Conversation = z
  .strictObject({
    id: Id,
    orgId: OpaqueId,
    externalId: z.string().nullable(),
    title: z.string(),
    description: z.string().nullable(),
    agentId: z.string().nullable(),
    tags: z.array(z.string()),
    metadata: z.record(z.string(), z.unknown()),
    status: ConversationStatus,
    participantCount: Count,
    participants: z.array(Participant),
    messageCount: Count,
    lastSeq: Count,
    changeSeq: Count,
    lastMessage: LastMessage.nullable(),
    usage: Usage,
    totalCost: z.number().min(0),
    contextSummary: z.string().nullable(),
    summaryCoversSeq: Count,
    createdAt: Timestamp,
    createdBy: ParticipantRef,
    updatedAt: Timestamp,
    updatedBy: ParticipantRef,
    me: Membership.nullable(),
  })
  .meta({ id: 'Conversation' })
export type Conversation = z.infer<typeof Conversation>

/** What a room sees: the conversation without `me`. */
export const RoomConversation = Conversation.omit({ me: true }).meta({ id: 'RoomConversation' })
export type RoomConversation = z.infer<typeof RoomConversation>

/** The fields of a conversation that a change may concern. */
export const ConversationField = z.enum([
  'title',
  'description',
  'tags',
  'metadata',
  'status',
  'participants',
  'contextSummary',
  'summaryCoversSeq',
])
export type ConversationField = z.infer<typeof ConversationField>

export const Receipt = z.strictObject({
  conversationId: Id,
  participantType: ParticipantType,
  participantId: OpaqueId,
  userId: OpaqueId,
  readSeq: Count,
})
export type Receipt = z.infer<typeof Receipt>

export const ChangeKind = z.enum([
  'message.updated',
  'message.deleted',
  'conversation.updated',
  'conversation.deleted',
  'participant.added',
  'participant.removed',
])
export type ChangeKind = z.infer<typeof ChangeKind>

export const Change = z
  .strictObject({
    changeSeq: Seq,
    kind: ChangeKind,
    message: Message.optional(),
    conversation: RoomConversation.optional(),
  })
  .meta({ id: 'Change' })
export type Change = z.infer<typeof Change>

export const AuditEntry = z
  .strictObject({
    id: Id,
    at: Timestamp,
    by: ParticipantRef,
    action: z.string(),
    changeSeq: Count,
    subject: z.string().nullable(),
    before: z.record(z.string(), z.unknown()),
    after: z.record(z.string(), z.unknown()),
  })
  .meta({ id: 'AuditEntry' })
export type AuditEntry = z.infer<typeof AuditEntry>

export const PageInfo = z
  .strictObject({
    nextCursor: z.string().nullable(),
    prevCursor: z.string().nullable(),
    hasMore: z.boolean(),
  })
  .meta({ id: 'PageInfo' })
export type PageInfo = z.infer<typeof PageInfo>

/** `{data, page}` of some resource. */
export const pageOf = <T extends z.ZodType>(item: T) =>
  z.strictObject({ data: z.array(item), page: PageInfo })
export interface Page<T> {
  data: T[]
  page: PageInfo
}

/** `GET /conversations/:id/context`: what goes into an agent's prompt. */
export const ConversationContext = z
  .strictObject({
    summary: z.string().nullable(),
    coversSeq: Count,
    messages: z.array(Message),
    tokens: Count.meta({ description: 'Tokens of summary and messages in the encoding o200k_base' }),
  })
  .meta({ id: 'ConversationContext' })
export type ConversationContext = z.infer<typeof ConversationContext>

/** `POST /conversations/:id/summary`, once waited for. */
export const ConversationSummary = z
  .strictObject({ contextSummary: z.string().nullable(), summaryCoversSeq: Count })
  .meta({ id: 'ConversationSummary' })
export type ConversationSummary = z.infer<typeof ConversationSummary>
export const SummaryQueued = z.strictObject({ status: z.literal('queued') }).meta({ id: 'SummaryQueued' })
export type SummaryQueued = z.infer<typeof SummaryQueued>

/** `GET /conversations/:id/changes` */
export const ChangesPage = z.strictObject({
  data: z.array(Change),
  page: z.strictObject({ hasMore: z.boolean(), lastChangeSeq: Count }),
})
export type ChangesPage = z.infer<typeof ChangesPage>

/** A message that a search found. */
export const SearchHit = Message.extend({
  score: z.number(),
  highlights: z.array(z.strictObject({ start: z.int(), end: z.int() })).meta({
    description: 'Where the words of the query stand in `content`, as UTF-16 offsets',
  }),
}).meta({ id: 'SearchHit' })
export type SearchHit = z.infer<typeof SearchHit>

/** `GET /messages/conversation/:id/statistics`; costs are US dollars. */
export const MessageStatistics = z
  .strictObject({
    total: z.int(),
    byRole: z.record(z.string(), z.int()),
    byType: z.record(z.string(), z.int()),
    byParticipant: z.array(
      z.strictObject({
        type: ParticipantType,
        id: z.string(),
        messages: z.int(),
        tokens: z.int(),
        cost: z.number(),
      }),
    ),
    tokens: z.strictObject({ input: z.int(), output: z.int(), total: z.int() }),
    cost: z.number(),
    withAttachments: z.int(),
    attachments: z.int(),
    firstAt: z.iso.datetime().nullable(),
    lastAt: z.iso.datetime().nullable(),
  })
  .meta({ id: 'MessageStatistics' })
export type MessageStatistics = z.infer<typeof MessageStatistics>
