import { z } from 'zod'
import { ParticipantType } from './identity.ts'
import { LIMITS } from './limits.ts'
import { Count, Id, JsonValue, Metadata, OpaqueId, TextOfBytes, TextOfLength } from './primitives.ts'
import { ConversationStatus, MessageRole, MessageType, ParticipantRole } from './resources.ts'

const Title = TextOfLength(LIMITS.title)
const Description = TextOfLength(LIMITS.description)
const Tags = z.array(TextOfLength(LIMITS.tag).min(1)).max(LIMITS.tags)

export const AddParticipant = z.strictObject({
  type: ParticipantType,
  id: OpaqueId,
  role: ParticipantRole.optional(),
})
export type AddParticipant = z.infer<typeof AddParticipant>

export const CreateConversation = z
  .strictObject({
    title: Title.optional(),
    description: Description.nullable().optional(),
    agentId: OpaqueId.optional(),
    tags: Tags.optional(),
    metadata: Metadata.optional(),
    externalId: OpaqueId.optional(),
    participants: z.array(AddParticipant).max(LIMITS.participantsAtCreate).optional(),
  })
  .meta({ id: 'CreateConversation' })
export type CreateConversation = z.infer<typeof CreateConversation>

export const UpdateConversation = z
  .strictObject({
    title: Title.nullable().optional(),
    description: Description.nullable().optional(),
    status: ConversationStatus.optional(),
    tags: Tags.nullable().optional(),
    metadata: Metadata.nullable().optional(),
  })
  .meta({ id: 'UpdateConversation' })
export type UpdateConversation = z.infer<typeof UpdateConversation>

const NewToolCall = z.strictObject({
  id: OpaqueId,
  name: OpaqueId,
  arguments: JsonValue,
  result: JsonValue.optional(),
})

/** Token counts that an agent reports; the total is their sum if omitted. */
const NewUsage = z.strictObject({
  inputTokens: Count.max(1e9),
  outputTokens: Count.max(1e9),
  totalTokens: Count.max(2e9).optional(),
})

/** Looked at one by one, since what is wrong with one has a code of its own. */
const Attachment = z.string().meta({
  description: `An https: URL without credentials, up to ${LIMITS.attachment} characters; or document:<id>, an id of 1 to 128 of A-Z a-z 0-9 . _ - that begins with a letter or digit. Else: invalid_attachment`,
})
const Content = TextOfBytes(LIMITS.contentBytes)
const Thinking = TextOfBytes(LIMITS.thinkingBytes)
const ToolCalls = z.array(NewToolCall).max(LIMITS.toolCalls)
const Model = OpaqueId

export const CreateMessage = z
  .strictObject({
    conversationId: Id,
    role: MessageRole,
    content: Content.default(''),
    type: MessageType.optional(),
    parentId: Id.nullable().optional(),
    attachments: z.array(Attachment).max(LIMITS.attachments).optional(),
    thinking: Thinking.nullable().optional(),
    toolCalls: ToolCalls.optional(),
    toolCallId: OpaqueId.nullable().optional(),
    usage: NewUsage.nullable().optional(),
    model: Model.nullable().optional(),
    metadata: Metadata.optional(),
    clientMessageId: OpaqueId.optional(),
  })
  .refine(
    (message) =>
      message.content !== '' ||
      (message.attachments?.length ?? 0) > 0 ||
      (message.toolCalls?.length ?? 0) > 0,
    { path: ['content'], message: 'may be empty only with an attachment or a tool call' },
  )
  .meta({ id: 'CreateMessage' })
export type CreateMessage = z.infer<typeof CreateMessage>

export const MarkRead = z.strictObject({ seq: Count }).meta({ id: 'MarkRead' })
export const ReadResult = z.strictObject({ readSeq: Count, unread: Count })
export type ReadResult = z.infer<typeof ReadResult>

/** A whole number in a query string, within bounds. */
export const QueryInt = (min: number, max: number) =>
  z
    .string()
    .regex(/^\d{1,16}$/, 'must be a whole number')
    .transform(Number)
    .pipe(z.int().min(min).max(max))
    .meta({ type: 'integer', minimum: min, maximum: max })

const Limit = QueryInt(1, LIMITS.pageSize).optional()
const Cursor = z.string().optional()

export const PageQuery = z.strictObject({ limit: Limit, cursor: Cursor })
export type PageQuery = z.infer<typeof PageQuery>

export const ListConversationsQuery = z.strictObject({
  limit: Limit,
  cursor: Cursor,
  status: ConversationStatus.optional(),
  tag: TextOfLength(LIMITS.tag).min(1).optional(),
  agentId: OpaqueId.optional(),
  externalId: OpaqueId.optional(),
})
export type ListConversationsQuery = z.infer<typeof ListConversationsQuery>

const SeqQuery = QueryInt(0, Number.MAX_SAFE_INTEGER)

export const ListMessagesQuery = z
  .strictObject({
    limit: Limit,
    before: SeqQuery.optional(),
    after: SeqQuery.optional(),
    around: SeqQuery.optional(),
    cursor: Cursor,
  })
  .refine(
    ({ before, after, around, cursor }) =>
      [before, after, around, cursor].filter((value) => value !== undefined).length <= 1,
    { message: 'at most one of before, after, around and cursor' },
  )
export type ListMessagesQuery = z.infer<typeof ListMessagesQuery>

export const SearchQuery = z.strictObject({
  q: TextOfLength(LIMITS.opaque).min(1),
  limit: Limit,
  cursor: Cursor,
})

export const ChangesQuery = z.strictObject({ after: SeqQuery.optional(), limit: Limit })

export const ContextQuery = z.strictObject({
  maxTokens: QueryInt(1, 1_000_000).optional(),
  recent: QueryInt(1, 500).optional(),
})

export const SummaryQuery = z.strictObject({ wait: z.enum(['true', 'false']).optional() })

/** Path parameters. */
export const ConversationPath = z.strictObject({ id: Id })
export const MessagePath = z.strictObject({ id: Id })

/** Body of the end of a streamed answer, as an agent sends it. */
export const StreamResult = z.strictObject({
  content: Content.optional(),
  usage: NewUsage.nullable().optional(),
  toolCalls: ToolCalls.optional(),
  thinking: Thinking.nullable().optional(),
})
export type StreamResult = z.infer<typeof StreamResult>

export const StreamStart = z.strictObject({
  conversationId: Id,
  clientMessageId: OpaqueId,
  parentId: Id.nullable().optional(),
  model: Model.nullable().optional(),
})
export type StreamStart = z.infer<typeof StreamStart>
