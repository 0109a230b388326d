import { z } from 'zod'
import { ParticipantRef, ParticipantType } from './identity.ts'
import { Count, Id, OpaqueId } from './primitives.ts'
import { ConversationField, Message, Participant, RoomConversation } from './resources.ts'

/** Version of the stream entries' form, in their field `v`. */
export const EVENTS_VERSION = '1'

/**
 * The events that services send through the Redis streams, by type, with the form of `data`.
 *
 * An entry has the fields `v`, `type`, `org`, `cid`, then `seq` (messages) or `change` (changes) if there is one,
 * `member` (key of the participant a change concerns), `to` (participant keys as a JSON array: everybody where a
 * conversation begins or ends, and of messages in those of up to 50 participants) and `data` (JSON). An entry has no
 * `data` where it would exceed 8 KiB, or might show more than its readers may see by now: they ask the api. At least
 * once; readers drop repeats. `data` is the state when it was written, at least as new as its number.
 */
export const PUBLISHED_EVENTS = {
  'message.created': Message,
  /** A number that no message will ever have. */
  'message.void': z.null(),
  'message.updated': Message,
  'message.deleted': Message,
  'conversation.created': RoomConversation,
  'conversation.updated': z.strictObject({
    changed: z.array(ConversationField),
    conversation: RoomConversation,
  }),
  'conversation.deleted': z.null(),
  'participant.added': z.strictObject({ participant: Participant, conversation: RoomConversation }),
  'participant.removed': z.strictObject({ participant: ParticipantRef, conversation: RoomConversation }),
  'receipt.read': z.strictObject({ type: ParticipantType, id: OpaqueId, readSeq: Count }),
  /** On the control stream only. Tokens issued at or before `before` (seconds since 1970) are void. */
  'auth.revoked': z.strictObject({ type: ParticipantType, id: OpaqueId, before: z.int() }),
} as const
export type PublishedEventType = keyof typeof PUBLISHED_EVENTS
/** `data` of events of a type, before it is JSON. */
export type PublishedData<T extends PublishedEventType> = z.input<(typeof PUBLISHED_EVENTS)[T]>

/** One stream entry, as written and as read. */
export interface PublishedEvent {
  type: PublishedEventType
  org: string
  /** The conversation's id; empty on the control stream. */
  cid: string
  /** Messages: their seq. */
  seq?: number
  /** Changes: their changeSeq. */
  change?: number
  /** Key (`user:ada`) of the participant a change concerns: added, removed, given another role. */
  member?: string
  /** Participant keys: everybody's where a conversation begins or ends, and of messages for up to 50 participants. */
  to?: string[]
  /** JSON text; absent: fetch the current state. */
  data?: string
}

/** Payload of a job in the queue `summaries`; its id is `summary-<conversation>-<bucket>`. */
export const SummaryJob = z.strictObject({
  orgId: OpaqueId,
  conversationId: Id,
  /** Summarise up to this seq: ten times the bucket's number, or as requested on demand. */
  throughSeq: Count,
})
export type SummaryJob = z.infer<typeof SummaryJob>
