/** Bounds needed in more than one place, most of them promised to clients. `…Bytes` are bytes of UTF-8. */
export const LIMITS = {
  /** Characters in a conversation's title. */
  title: 200,
  /** Characters in a conversation's description. */
  description: 2_000,
  tags: 20,
  /** Characters in one tag. */
  tag: 64,
  metadataBytes: 8 * 1024,
  contentBytes: 64 * 1024,
  thinkingBytes: 64 * 1024,
  attachments: 20,
  /** Characters in one attachment reference. */
  attachment: 2_048,
  toolCalls: 32,
  /** A request body, and a socket packet. */
  requestBytes: 1024 * 1024,
  participantsAtCreate: 100,
  participants: 1_000,
  /** Participants shown on the conversation itself. */
  participantsShown: 20,
  /** Characters of a last message's preview. */
  preview: 140,
  /** Characters in an opaque id, an idempotency key, a search text. */
  opaque: 128,
  pageSize: 100,
  defaultPageSize: 50,
  /** Messages, and changes, that a join carries at most. */
  joinPage: 100,
  /** Bytes of each of the two; slightly more is possible, or a single larger one. */
  joinBytes: 256 * 1024,
  /** Conversations with more participants send no receipts at join. */
  receiptsAtJoin: 100,
  /** Conversations with more participants name no recipients on the stream, so carry no activity. */
  recipientsNamed: 50,
  /** Levels of nesting in a JSON value that a client sends. */
  jsonDepth: 32,
  /** Stream events whose data is larger carry a pointer instead. */
  eventBytes: 8 * 1024,
  /** Rooms that one socket may be in. */
  roomsPerSocket: 500,
  /** Answers that one socket may have open. */
  streamsPerSocket: 1_000,
  /** Messages that one summary step covers: a bucket. */
  summaryBucket: 10,
  /** A stored summary; configured far lower, in characters. */
  summaryBytes: 64 * 1024,
  /** Notes kept with a conversation's newest summary. */
  summaryNotes: 100,
  /** Milliseconds after which a typing signal ends by itself. */
  typingMs: 6_000,
} as const
