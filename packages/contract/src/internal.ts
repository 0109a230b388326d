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

/** `/internal/joins`: joins of one moment. Each is answered by itself, in the order asked. */
export const InternalJoins = z.strictObject({ joins: z.array(InternalJoin).min(1).max(50) })
export const InternalJoinAnswer = z.union([
  /** `page`, `read`: where its messages and receipts are; those who come back to one room share them. */
  z.strictObject({
    result: InternalJoinResult.omit({ messages: true, receipts: true }),
    page: Count,
    read: Count,
  }),
  z.strictObject({ problem: z.strictObject({ code: z.enum(PROBLEM_CODES), detail: z.string() }) }),
  /** The answers of this moment are long enough: this one has to be asked for alone. */
  z.strictObject({ alone: z.literal(true) }),
])
export type InternalJoinAnswer = z.infer<typeof InternalJoinAnswer>
export const InternalJoinsResult = z.strictObject({
  pages: z.array(z.array(Message)),
  reads: z.array(z.array(Receipt)),
  answers: z.array(InternalJoinAnswer),
})
export type InternalJoinsResult = z.infer<typeof InternalJoinsResult>

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
})
export type InternalFillResult = z.infer<typeof InternalFillResult>

/** `/internal/heads`: where up to 1,000 conversations stand; those that are gone are left out. */
export const InternalHeads = z.strictObject({ ids: z.array(Id).max(1_000) })
export const InternalHead = z.strictObject({ id: Id, throughSeq: Count, changeSeq: Count })
export const InternalHeadsResult = z.strictObject({ heads: z.array(InternalHead) })
export type InternalHead = z.infer<typeof InternalHead>

/** `/internal/added`: who of these was added to conversations since then; for gateways that may have missed it. */
export const InternalAdded = z.strictObject({
  /** Milliseconds since 1970. */
  since: z.int(),
  /** Only to this one. */
  conversationId: Id.optional(),
  /** The `next` of the answer before. */
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

/** `/internal/reads`: who has read in these conversations since then, and how far; for gateways that may have missed it. */
export const InternalReads = z.strictObject({
  /** Milliseconds since 1970. */
  since: z.int(),
  ids: z.array(Id).max(1_000),
})
export const InternalReadsResult = z.strictObject({ receipts: z.array(Receipt) })
export type InternalReadsResult = z.infer<typeof InternalReadsResult>

/** `/internal/authorize`: who of these may still follow the conversation, in the order asked. */
export const InternalAuthorize = z.strictObject({
  conversationId: Id,
  callers: z.array(Caller).max(1_000),
  /** Also list everyone who takes part. */
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

/** `/internal/relations`: does the caller share a conversation with this participant (always true for admins). */
export const InternalRelation = z.strictObject({ caller: Caller, type: ParticipantType, id: OpaqueId })
export const InternalRelationResult = z.strictObject({ shared: z.boolean() })
export type InternalRelationResult = z.infer<typeof InternalRelationResult>

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
export type InternalStreamStart = z.infer<typeof InternalStreamStart>
export const InternalStreamStartResult = z.strictObject({ message: Message, created: z.boolean() })
export type InternalStreamStartResult = z.infer<typeof InternalStreamStartResult>

/**
 * `/internal/streams/checkpoint`: stores the text so far, the sign of life of a stream. `live` false: it has ended, be it
 * because the caller may not write there any more.
 */
export const InternalStreamCheckpoint = z.strictObject({
  caller: Caller,
  conversationId: Id,
  messageId: Id,
  content: TextOfBytes(LIMITS.contentBytes),
})
export type InternalStreamCheckpoint = z.infer<typeof InternalStreamCheckpoint>
export const InternalStreamCheckpointResult = z.strictObject({ live: z.boolean() })
export type InternalStreamCheckpointResult = z.infer<typeof InternalStreamCheckpointResult>

/** `/internal/streams/finish`: ends a stream once; who comes later gets the stored message and `won` false. */
export const InternalStreamFinish = z.strictObject({
  conversationId: Id,
  messageId: Id,
  status: z.enum(['sent', 'failed', 'cancelled']),
  result: StreamResult,
  /** Who ended it; checked to be the author for `sent` and `failed`, to take part for `cancelled`; null: the service. */
  caller: Caller.nullable(),
})
export type InternalStreamFinish = z.infer<typeof InternalStreamFinish>
export const InternalStreamFinishResult = z.strictObject({ message: Message, won: z.boolean() })
export type InternalStreamFinishResult = z.infer<typeof InternalStreamFinishResult>

/** One sentence worth keeping, and the message that it comes from: what a summary is rebuilt from without that message. */
export const SummaryNote = z.strictObject({
  seq: Seq,
  /** Who said it. */
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
  /** The author's name, or id where no name is known. */
  author: z.string(),
  content: z.string(),
  /** Names of the tools that it calls. */
  tools: z.array(z.string()),
  attachments: Count,
  createdAt: Timestamp,
})
export type SummaryMessage = z.infer<typeof SummaryMessage>

/** `/internal/summaries/read`: the next piece of work in this conversation. */
export const InternalSummaryRead = z.strictObject({ conversationId: Id })
export const SummaryWork = z.strictObject({
  state: z.literal('ready'),
  /** What the stored summary covers, its revision, and the content it has to be true to: compared when writing. */
  coversSeq: Count,
  contentRev: Count,
  /** Cover everything up to here, not more. */
  throughSeq: Seq,
  /** The newest summary that holds nothing deleted or edited since, empty if none, and how far it goes. */
  previousText: z.string(),
  previousSeq: Count,
  /** Notes on what was said up to `coversSeq` and still stands. */
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

/** `/internal/summaries/write`: stores a summary if nobody stored one since the read and the content is still the same. */
export const InternalSummaryWrite = z.strictObject({
  conversationId: Id,
  coversSeq: Count,
  contentRev: Count,
  throughSeq: Seq,
  /** As read: later summaries hold something that no longer stands, and go. */
  previousSeq: Count,
  text: TextOfBytes(LIMITS.summaryBytes),
  notes: z.array(SummaryNote).max(LIMITS.summaryNotes),
  source: z.enum(['model', 'extractive']),
  /** The model that was used, and what it took; null without one. */
  model: z.string().max(LIMITS.opaque).nullable(),
  usage: Usage.nullable(),
})
export type InternalSummaryWrite = z.infer<typeof InternalSummaryWrite>
/** `applied` false: someone else was first, or the content changed: read again. */
export const InternalSummaryWriteResult = z.strictObject({ applied: z.boolean() })
export type InternalSummaryWriteResult = z.infer<typeof InternalSummaryWriteResult>

/** `/internal/summaries/failed`: jobs that used up their attempts, newest first. */
export const InternalSummaryFailed = z.strictObject({ limit: z.int().min(1).max(1_000) })
export const FailedSummaryJob = z.strictObject({
  id: z.string(),
  conversationId: Id,
  attempts: Count,
  reason: z.string(),
  failedAt: Timestamp,
})
export type FailedSummaryJob = z.infer<typeof FailedSummaryJob>
export const InternalSummaryFailedResult = z.strictObject({ jobs: z.array(FailedSummaryJob) })
