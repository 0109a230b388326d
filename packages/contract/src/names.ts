import type { ParticipantType } from './identity.ts'

/** Redis streams that message events are spread over. Fixed: readers and writers must agree. */
const PARTITIONS = 4

/** The partition of a conversation: FNV-1a of its id, so that a room's events stay in one stream, in order. */
export function partitionOf(conversationId: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < conversationId.length; i++) {
    hash = Math.imul(hash ^ conversationId.charCodeAt(i), 0x01000193)
  }
  return (hash >>> 0) % PARTITIONS
}

/** A stream of events: one of those that conversations are spread over, or the one for what concerns everybody. */
export type Partition = number | 'control'
export const ALL_PARTITIONS: readonly Partition[] = [...Array(PARTITIONS).keys(), 'control']

export const eventsKey = (partition: Partition): string =>
  partition === 'control' ? 'events:control' : `events:{${partition}}`
/** Prefix of the keys in the same slot of a Redis Cluster as the stream. */
const besideEvents = (partition: Partition): string =>
  partition === 'control' ? '{events:control}' : eventsKey(partition)
/** Set once per life of a Redis; another value means that the streams were lost. */
export const eventsEpochKey = (partition: Partition): string => `${besideEvents(partition)}:epoch`
/** Present while somebody can write to the stream. */
export const eventsPulseKey = (partition: Partition): string => `${besideEvents(partition)}:pulse`

export const SUMMARY_QUEUE = 'summaries'
export const summaryJobId = (conversationId: string, bucket: number | string): string =>
  `summary-${conversationId}-${bucket}`
/** Who is summarising a conversation at the moment. */
export const summaryLeaseKey = (conversationId: string): string => `summary:lease:${conversationId}`

/**
 * Set of `<gateway>#<generation>:<socket>`: the live sockets of a participant. An org's colons are encoded, or `a:b` of
 * the org `acme` would be `b` of the org `acme:a`; braces are, since they would choose another slot of a Redis Cluster.
 */
export const presenceKey = (orgId: string, type: ParticipantType, id: string): string =>
  `presence:${type}:${orgId.replace(/[%:{}]/g, encodeURIComponent)}:${id.replace(/[%{}]/g, encodeURIComponent)}`
/** When a participant was last seen to come or go: milliseconds since 1970. In the same slot as their sockets. */
export const seenKey = (orgId: string, type: ParticipantType, id: string): string =>
  `seen:{${presenceKey(orgId, type, id)}}`
/** Participants of a type with a socket in a conversation's room. */
export const roomPresenceKey = (conversationId: string, type: ParticipantType): string =>
  `conversation:${conversationId}:${type}s`
/** Hash: generation of a gateway -> milliseconds since 1970 until which it counts as alive. */
export const LEASES_KEY = 'presence:leases'
/** Everything a gateway generation holds, for clearing up after it. */
export const heldKey = (generation: string): string => `presence:held:${generation}`
/** Sorted set: who of an org is online, as far as known; readers check each. */
export const onlineKey = (orgId: string, type: ParticipantType): string => `presence:online:${type}:${orgId}`
/** Pub/sub between gateways: who came and went, in all orgs. */
export const PRESENCE_CHANNEL = 'presence'
/** Pub/sub between gateways: what happens in a conversation and is not stored. */
export const roomChannel = (conversationId: string): string => `room:${conversationId}`
/** The conversation of a room's channel. */
export const conversationOfChannel = (channel: string): string => channel.slice('room:'.length)

/** Hash: text so far of a streamed answer, and who owns it. */
export const streamTextKey = (messageId: string): string => `stream:${messageId}`
/** Hash: messages of a conversation that are being streamed -> their seq. */
export const roomStreamsKey = (conversationId: string): string => `conversation:${conversationId}:streams`
