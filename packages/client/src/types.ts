import type { ClientPayload, CreateMessage, MessageRole, StreamUpdate } from '@parley/contract'

/** A message to send, without what the SDK adds. */
export type Draft = Omit<ClientPayload<'message:send'>, 'conversationId' | 'role'> & {
  /** Default: `user`, or `assistant` for an agent. */
  role?: MessageRole
}

export type MessageInput = string | Draft

/** A message with everything that a create needs. */
export type OutgoingMessage = ClientPayload<'message:send'> & Required<Pick<CreateMessage, 'clientMessageId'>>

export interface CallOptions {
  signal?: AbortSignal | undefined
}

export interface SendOptions extends CallOptions {
  /**
   * Milliseconds after which to give up, waiting for messages before it included; this one may or may not have been
   * stored then. Default: never.
   */
  timeoutMs?: number
}

/** One step of an answer that is being written, with its whole text so far. */
export interface StreamProgress extends StreamUpdate {
  content: string
}

export interface PageOptions extends CallOptions {
  /** 1–100, default 50. */
  limit?: number
  /** The `nextCursor` or `prevCursor` of another page; null is as good as none. */
  cursor?: string | null | undefined
}

/** Where to look in a conversation; at most one of `before`, `after`, `around` and `cursor`. */
export interface MessagePageOptions extends PageOptions {
  before?: number
  after?: number
  around?: number
}
