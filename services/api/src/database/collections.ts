import type {
  ConversationField,
  ConversationStatus,
  MessageRole,
  MessageStatus,
  MessageType,
  ParticipantRole,
  PublishedEventType,
  SummaryNote,
} from '@parley/contract'
import type { Collection, Db, ObjectId } from 'mongodb'

/**
 * The head of a conversation: its own fields, and a fold of its messages up to `settledSeq`. Readers fold in what lies
 * above `settledSeq`; see messages/head-updater.ts.
 */
export interface ConversationDocument {
  _id: ObjectId
  org: string
  externalId?: string
  title: string
  description?: string
  agentId?: string
  /** The one active conversation that the agent of `agentId` finds or makes on connecting. */
  auto?: true
  tags: string[]
  metadata: Record<string, unknown>
  status: ConversationStatus
  deletedAt?: Date
  participantCount: number
  /** New with every change of participants or roles, never reused; caches of roles are keyed by it. */
  membersRev: ObjectId

  /** Every number up to here is stored or void, on a majority, and counted in the fields below. */
  settledSeq: number
  /** Seq of the last stored message counted; 0 if none. */
  lastSeq: number
  messageCount: number
  lastMessage?: LastMessageDocument
  inputTokens: number
  outputTokens: number
  totalTokens: number
  /** Millionths of a US dollar. */
  costMicros: number
  /** Messages by agents since a person last wrote. */
  agentRun: number

  /** Changes so far: delete, edit, end of a stream, status, participants, summary. */
  changeSeq: number
  /** Number and kind of the last change to the conversation itself; 0: none. */
  ownChangeSeq: number
  ownChangeKind?: 'conversation.updated' | 'participant.added' | 'participant.removed'

  /** Raised whenever text changes that a summary may have read: deletes, edits, ended streams. */
  contentRev: number
  summary?: string
  summaryCoversSeq: number
  /** The `contentRev` that the summary matches; absent: no summary. */
  summaryContentRev?: number
  /** Summarise everything up to here, although the bucket is not full: requested on demand. */
  summaryWantedSeq?: number
  /** A bucket waits for its summary; indexed for the reconciler. */
  summaryDue?: true

  createdAt: Date
  createdBy: string
  updatedAt: Date
  updatedBy: string
}

export interface LastMessageDocument {
  id: ObjectId
  seq: number
  role: MessageRole
  author: string
  preview: string
  createdAt: Date
}

/** One per participant and conversation; `key` is `user:ada`. */
export interface ParticipantDocument {
  _id: ObjectId
  cid: ObjectId
  org: string
  key: string
  role: ParticipantRole
  name?: string
  avatarUrl?: string
  joinedAt: Date
  readSeq: number
  /** When they last marked how far they had read; sending does not count. */
  readAt?: Date
  /** Last activity of the conversation, to the minute; orders "my conversations". */
  activityAt: Date
  /** The conversation is archived or closed: active ones are found without looking at those that are not. */
  inactive?: true
  /** Number of the change that `inactive` was last set by. */
  statusSeq?: number
}

/** A message, or a number that will never have one (`void`). Fields without a value are absent. */
export interface MessageDocument {
  _id: ObjectId
  cid: ObjectId
  org: string
  seq: number
  /** Participant key of the author. */
  author: string
  role: MessageRole
  type: MessageType
  status: MessageStatus
  content: string
  parentId?: ObjectId
  attachments?: string[]
  thinking?: string
  toolCalls?: { id: string; name: string; arguments: unknown; result?: unknown }[]
  toolCallId?: string
  usage?: { inputTokens: number; outputTokens: number; totalTokens: number }
  model?: string
  /** Millionths of a US dollar. */
  costMicros?: number
  metadata?: Record<string, unknown>
  clientMessageId?: string
  /** HMAC of the payload sent under `clientMessageId`. */
  payloadHash?: string
  createdAt: Date
  /** For a streaming message: its last checkpoint. */
  streamedAt?: Date
  updatedAt?: Date
  updatedBy?: string
  deletedAt?: Date
  /** Number of its last change; absent: none. */
  changeSeq?: number
  /** Not yet known to be published and counted in the head. */
  unsettled?: true
  void?: undefined
}

export interface VoidDocument {
  _id: ObjectId
  cid: ObjectId
  org: string
  seq: number
  void: true
  unsettled?: true
}

export type MessageRow = MessageDocument | VoidDocument
export const isVoid = (row: MessageRow): row is VoidDocument => row.void === true

/** A change that waits to be published; written in the transaction that makes the change. */
export interface OutboxDocument {
  _id: ObjectId
  cid: ObjectId
  org: string
  /** Its changeSeq; 0 if it has none. */
  change: number
  type: PublishedEventType
  /** What the change concerned: a message, a participant key, changed fields. */
  messageId?: ObjectId
  participant?: string
  changed?: ConversationField[]
  /** Participant keys of those to be told outside the room. */
  to?: string[]
  /**
   * When the change was made; any relay takes the row 3 s later. Set to 1970 once its own process failed to
   * publish it, so that any relay takes it at once.
   */
  createdAt: Date
}

export interface AuditDocument {
  _id: ObjectId
  cid: ObjectId
  org: string
  changeSeq: number
  at: Date
  by: string
  action: string
  subject?: string
  before: Record<string, unknown>
  after: Record<string, unknown>
}

/** Name and picture as last seen in a person's token. */
export interface ProfileDocument {
  /** `<org>` and participant key. */
  _id: { org: string; key: string }
  name?: string
  picture?: string
  /** When that token was issued, in seconds since 1970. */
  issuedAt?: number
  /** Not yet known to be in all participants' rows. */
  unshown?: true
}

/** Tokens of this participant issued at or before `before` (seconds since 1970) are void. */
export interface RevocationDocument {
  _id: { org: string; key: string }
  before: number
  createdAt: Date
}

/** A summary as of `throughSeq`; content deleted or edited since is removed. */
export interface SummaryDocument {
  _id: ObjectId
  cid: ObjectId
  org: string
  /** Full buckets of ten that it covers. */
  bucket: number
  throughSeq: number
  text: string
  /** The notes it was made from; only the newest summary keeps them. */
  notes?: SummaryNote[]
  contentRev: number
  /** Changes up to here are reflected; a covered message with a later one has changed since. */
  changeSeq: number
  by: 'model' | 'extractive'
  model?: string
  inputTokens: number
  outputTokens: number
  costMicros: number
  createdAt: Date
}

/** The words that a message is found by; see search/. Its id is the message's. */
export interface SearchTermsDocument {
  _id: ObjectId
  cid: ObjectId
  seq: number
  terms: string[]
}

/** How far a conversation's messages are indexed for search. */
export interface SearchHeadDocument {
  /** The conversation's id. */
  _id: ObjectId
  indexedSeq: number
}

export interface Collections {
  conversations: Collection<ConversationDocument>
  participants: Collection<ParticipantDocument>
  messages: Collection<MessageRow>
  outbox: Collection<OutboxDocument>
  audit: Collection<AuditDocument>
  profiles: Collection<ProfileDocument>
  revocations: Collection<RevocationDocument>
  summaries: Collection<SummaryDocument>
  searchTerms: Collection<SearchTermsDocument>
  searchHeads: Collection<SearchHeadDocument>
}

export const collections = (db: Db): Collections => ({
  conversations: db.collection('conversations'),
  participants: db.collection('participants'),
  messages: db.collection('messages'),
  outbox: db.collection('outbox'),
  audit: db.collection('audit'),
  profiles: db.collection('profiles'),
  revocations: db.collection('revocations'),
  summaries: db.collection('summaries'),
  searchTerms: db.collection('searchTerms'),
  searchHeads: db.collection('searchHeads'),
})
