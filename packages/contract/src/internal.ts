import { z } from 'zod'
import { Caller, ParticipantRef, ParticipantType } from './identity.ts'
import { LIMITS } from './limits.ts'
import { Count, Id, OpaqueId, Seq, TextOfBytes, Timestamp } from './primitives.ts'
import { PROBLEM_CODES } from './problems.ts'
import { StreamResult, StreamStart } from './requests.ts'
import {
  Change,
  Conversation,
  Message,
  MessageRole,
  ParticipantRole,
  Receipt,
  RoomConversation,
  Usage,
} from './resources.ts'

export const InternalJoin = z.strictObject({
  caller: Caller,
  conversationId: Id,
  afterSeq: Count.optional(),
  afterChangeSeq: Count.optional(),
  /** Also list all participants; requested when a gateway opens the room. */
  members: z.boolean().optional(),
})
export const InternalJoinResult = z.strictObject({
  /** null: an admin who takes no part. */
  role: ParticipantRole.nullable(),
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
export type InternalJoin = z.infer<typeof InternalJoin>
export type InternalJoinResult = z.infer<typeof InternalJoinResult>

export const InternalJoinAnswer = z.union([
  /** `page`, `read`: where its messages and receipts are; those who come back to one room share them. */
  z.strictObject({
    result: InternalJoinResult.omit({ messages: true, receipts: true }),
    page: Count,
    read: Count,
  }),
  z.strictObject({ problem: z.strictObject({ code: z.enum(PROBLEM_CODES), detail: z.string() }) }),
  /** The common answer is long enough: this join has to be asked for alone. */
  z.strictObject({ alone: z.literal(true) }),
])
export type InternalJoinAnswer = z.infer<typeof InternalJoinAnswer>
export const InternalJoinsResult = z.strictObject({
  pages: z.array(z.array(Message)),
  reads: z.array(z.array(Receipt)),
  answers: z.array(InternalJoinAnswer),
})
export type InternalJoinsResult = z.infer<typeof InternalJoinsResult>

export const InternalFillResult = z.strictObject({
  messages: z.array(Message),
  changes: z.array(Change),
  /** Every number up to here is in `messages` or void. */
  throughSeq: Count,
  throughChangeSeq: Count,
  /** The conversation's own figures; beyond through… there is more to fill. */
  lastSeq: Count,
  changeSeq: Count,
})
export type InternalFillResult = z.infer<typeof InternalFillResult>

export const InternalHead = z.strictObject({ id: Id, throughSeq: Count, changeSeq: Count })
export type InternalHead = z.infer<typeof InternalHead>

export const InternalAdded = z.strictObject({
  /** Milliseconds since 1970. */
  since: z.int(),
  /** Only to this one. */
  conversationId: Id.optional(),
  /** The `next` of the previous answer. */
  after: Id.optional(),
  people: z.array(z.strictObject({ orgId: OpaqueId, type: ParticipantType, id: OpaqueId })).max(1_000),
})
export const InternalAddedResult = z.strictObject({
  added: z.array(z.strictObject({ conversation: RoomConversation, participants: z.array(ParticipantRef) })),
  /** There may be more. */
  next: Id.optional(),
})
export type InternalAdded = z.infer<typeof InternalAdded>
export type InternalAddedResult = z.infer<typeof InternalAddedResult>

export const InternalAuthorize = z.strictObject({
  conversationId: Id,
  callers: z.array(Caller).max(1_000),
  /** Also list all participants. */
  members: z.boolean().optional(),
})
export const InternalAuthorizeResult = z.strictObject({
  /** false: the conversation is gone. */
  exists: z.boolean(),
  allowed: z.array(z.boolean()),
  members: z.array(ParticipantRef).optional(),
})
export type InternalAuthorize = z.infer<typeof InternalAuthorize>
export type InternalAuthorizeResult = z.infer<typeof InternalAuthorizeResult>

export const InternalAgentReadyResult = z.strictObject({
  conversation: Conversation,
  active: z.array(z.strictObject({ id: Id, lastSeq: Count })).max(500),
})
export type InternalAgentReadyResult = z.infer<typeof InternalAgentReadyResult>

export const Revocation = z.strictObject({
  orgId: OpaqueId,
  type: ParticipantType,
  id: OpaqueId,
  /** Tokens issued at or before this second (since 1970) are void. */
  before: z.int(),
})
export type Revocation = z.infer<typeof Revocation>

export const InternalStreamStartResult = z.strictObject({ message: Message, created: z.boolean() })
export type InternalStreamStartResult = z.infer<typeof InternalStreamStartResult>

export const InternalStreamCheckpoint = z.strictObject({
  caller: Caller,
  conversationId: Id,
  messageId: Id,
  content: TextOfBytes(LIMITS.contentBytes),
})
export type InternalStreamCheckpoint = z.infer<typeof InternalStreamCheckpoint>

export const InternalStreamFinish = z.strictObject({
  conversationId: Id,
  messageId: Id,
  status: z.enum(['sent', 'failed', 'cancelled']),
  result: StreamResult,
  /**
   * Who ended it; checked to be the author for `sent` and `failed`, to take part for `cancelled`; null: the service.
   */
  caller: Caller.nullable(),
  /** Not where it has given a sign of life in these last milliseconds, by the api's clock. */
  silentMs: z.int().min(0).optional(),
})
export type InternalStreamFinish = z.infer<typeof InternalStreamFinish>
export const InternalStreamFinishResult = z.strictObject({ message: Message, won: z.boolean() })
export type InternalStreamFinishResult = z.infer<typeof InternalStreamFinishResult>

/**
 * One sentence worth keeping, and the message that it comes from: what a summary is rebuilt from without that message.
 */
export const SummaryNote = z.strictObject({
  seq: Seq,
  /** The author. */
  author: z.string(),
  text: z.string().max(400),
  /** How much it tells; higher is kept longer. */
  weight: z.number().min(0),
})
export type SummaryNote = z.infer<typeof SummaryNote>

/** What a summariser sees of a message. */
export const SummaryMessage = z.strictObject({
  seq: Seq,
  role: MessageRole,
  /** The author's name, or id if no name is known. */
  author: z.string(),
  content: z.string(),
  /** Names of the tools that it calls. */
  tools: z.array(z.string()),
  attachments: Count,
  createdAt: Timestamp,
})
export type SummaryMessage = z.infer<typeof SummaryMessage>

export const SummaryWork = z.strictObject({
  state: z.literal('ready'),
  /** What the stored summary covers, and the content revision it must still match; both are compared on writing. */
  coversSeq: Count,
  contentRev: Count,
  /** Cover everything up to here, not more. */
  throughSeq: Seq,
  /** The newest summary without anything deleted or edited since, empty if none, and how far it goes. */
  previousText: z.string(),
  previousSeq: Count,
  /** Notes on messages up to `coversSeq` that are still current. */
  notes: z.array(SummaryNote),
  /** Not yet noted: what is new, and what was edited. Ascending. */
  messages: z.array(SummaryMessage),
  /** The last few up to `throughSeq`, shortened: what came last. Ascending. */
  recent: z.array(SummaryMessage),
})
export type SummaryWork = z.infer<typeof SummaryWork>
export const InternalSummaryReadResult = z.discriminatedUnion('state', [
  SummaryWork,
  /** Nothing to do, or the conversation is gone. */
  z.strictObject({ state: z.literal('current') }),
  /** A message in the piece is not final yet: being streamed, or in flight. */
  z.strictObject({ state: z.literal('waiting') }),
])
export type InternalSummaryReadResult = z.infer<typeof InternalSummaryReadResult>

export const InternalSummaryWrite = z.strictObject({
  conversationId: Id,
  coversSeq: Count,
  contentRev: Count,
  throughSeq: Seq,
  /** As read: later summaries hold outdated content, and are removed. */
  previousSeq: Count,
  text: TextOfBytes(LIMITS.summaryBytes),
  notes: z.array(SummaryNote).max(LIMITS.summaryNotes),
  source: z.enum(['model', 'extractive']),
  /** The model that was used, and its token usage; null without one. */
  model: z.string().max(LIMITS.opaque).nullable(),
  usage: Usage.nullable(),
})
export type InternalSummaryWrite = z.infer<typeof InternalSummaryWrite>

export const FailedSummaryJob = z.strictObject({
  id: z.string(),
  conversationId: Id,
  attempts: Count,
  reason: z.string(),
  failedAt: Timestamp,
})
export type FailedSummaryJob = z.infer<typeof FailedSummaryJob>

/**
 * Calls between the services themselves, under a token of `SERVICE_SECRET`; not part of the public interface. All are
 * POST; each with the schemas of its JSON body and its answer.
 */
export const INTERNAL = {
  /** Whether this caller may join the conversation, and from where. 404 as for any reader. */
  '/internal/join': { body: InternalJoin, result: InternalJoinResult },
  /** Joins made at the same time. Each is answered separately, in the order asked. */
  '/internal/joins': {
    body: z.strictObject({ joins: z.array(InternalJoin).min(1).max(50) }),
    result: InternalJoinsResult,
  },
  /** What a room missed; 404 if the conversation is gone. */
  '/internal/fill': {
    body: z.strictObject({
      conversationId: Id,
      afterSeq: Count,
      afterChangeSeq: Count,
      /** Messages, and changes, at most; 1–500. */
      limit: z.int().min(1).max(500),
    }),
    result: InternalFillResult,
  },
  /** Where up to 1,000 conversations stand; those that are gone are left out. */
  '/internal/heads': {
    body: z.strictObject({ ids: z.array(Id).max(1_000) }),
    result: z.strictObject({ heads: z.array(InternalHead) }),
  },
  /** Which of these people were added to conversations since then; for gateways that may have missed it. */
  '/internal/added': { body: InternalAdded, result: InternalAddedResult },
  /** Who has read in these conversations since then, and how far; for gateways that may have missed it. */
  '/internal/reads': {
    body: z.strictObject({
      /** Milliseconds since 1970. */
      since: z.int(),
      ids: z.array(Id).max(1_000),
    }),
    result: z.strictObject({ receipts: z.array(Receipt) }),
  },
  /** Which of these may still join the conversation, in the order asked. */
  '/internal/authorize': { body: InternalAuthorize, result: InternalAuthorizeResult },
  /** Whether the caller shares a conversation with this participant (always true for admins). */
  '/internal/relations': {
    body: z.strictObject({ caller: Caller, type: ParticipantType, id: OpaqueId }),
    result: z.strictObject({ shared: z.boolean() }),
  },
  /** The agent's auto conversation, found or made, and its other active ones, newest first. */
  '/internal/agents/ready': {
    body: z.strictObject({ caller: Caller }),
    result: InternalAgentReadyResult,
  },
  /** All revocations that are in force. */
  '/internal/revocations': {
    body: z.strictObject({}),
    result: z.strictObject({ revocations: z.array(Revocation) }),
  },
  /** 201, or 200 with what the same key started before. */
  '/internal/streams/start': {
    body: z.strictObject({ caller: Caller, start: StreamStart }),
    result: InternalStreamStartResult,
  },
  /**
   * Stores the text so far, the sign of life of a stream. `live` false: it has ended, perhaps because the caller may no
   * longer write there.
   */
  '/internal/streams/checkpoint': {
    body: InternalStreamCheckpoint,
    result: z.strictObject({ live: z.boolean() }),
  },
  /** Ends a stream once; later calls get the stored message and `won` false. */
  '/internal/streams/finish': { body: InternalStreamFinish, result: InternalStreamFinishResult },
  /** The next piece of work in this conversation. */
  '/internal/summaries/read': {
    body: z.strictObject({ conversationId: Id }),
    result: InternalSummaryReadResult,
  },
  /**
   * Stores a summary if none was stored since the read and the content is still the same. `applied` false: otherwise;
   * read again.
   */
  '/internal/summaries/write': {
    body: InternalSummaryWrite,
    result: z.strictObject({ applied: z.boolean() }),
  },
  /** Jobs that used up their attempts, newest first. */
  '/internal/summaries/failed': {
    body: z.strictObject({ limit: z.int().min(1).max(1_000) }),
    result: z.strictObject({ jobs: z.array(FailedSummaryJob) }),
  },
} as const
export type InternalPath = keyof typeof INTERNAL
/** As it is sent. */
export type InternalBody<P extends InternalPath> = z.input<(typeof INTERNAL)[P]['body']>
export type InternalResult<P extends InternalPath> = z.infer<(typeof INTERNAL)[P]['result']>
