import {
  LIMITS,
  type PublishedData,
  type PublishedEvent,
  type PublishedEventType,
  parseParticipantKey,
  type RoomConversation,
} from '@parley/contract'
import type { ObjectId } from 'mongodb'
import {
  type Collections,
  isVoid,
  type MessageDocument,
  type OutboxDocument,
  type ParticipantDocument,
} from '../database/collections.ts'
import { toMessage } from '../messages/message.ts'
import { toParticipant } from '../participants/participant.ts'

export interface EventSources extends Pick<Collections, 'messages' | 'participants'> {
  /** Conversations as a room sees them, by id; deleted ones are left out. */
  roomViews(ids: readonly ObjectId[]): Promise<Map<string, RoomConversation>>
}

export type EventBuilder = ReturnType<typeof createEventBuilder>

/** Whether it is small enough for an entry. Larger data is left out of entries, so it need not be read either. */
const FITS = { $lte: [{ $bsonSize: '$$ROOT' }, LIMITS.eventBytes] }

/** Nothing has happened in it yet, so all its first participants may see it. */
const isNew = ({ changeSeq, lastSeq }: RoomConversation): boolean => changeSeq === 0 && lastSeq === 0

/**
 * Makes the events of outbox rows, in their order, from the current state. An event has no data if its subject is gone
 * by now or too large, or if those it is for may no longer take part: its reader then asks for itself.
 */
export function createEventBuilder({ messages, participants, roomViews }: EventSources) {
  async function messagesOf(rows: readonly OutboxDocument[], known: readonly MessageDocument[]) {
    const byId = new Map(known.map((row) => [row._id.toHexString(), row]))
    const missing = rows.flatMap(({ messageId }) =>
      messageId && !byId.has(messageId.toHexString()) ? [messageId] : [],
    )
    if (missing.length > 0) {
      const rows = messages.find({ _id: { $in: missing }, $expr: FITS })
      for (const row of await rows.toArray()) {
        if (!isVoid(row)) byId.set(row._id.toHexString(), row)
      }
    }
    return byId
  }

  async function addedOf(rows: readonly OutboxDocument[]): Promise<Map<string, ParticipantDocument>> {
    const wanted = rows.flatMap(({ type, cid, participant }) =>
      type === 'participant.added' && participant ? [{ cid, key: participant }] : [],
    )
    if (wanted.length === 0) return new Map()
    const found = await participants.find({ $or: wanted }).toArray()
    return new Map(found.map((row) => [`${row.cid.toHexString()}${row.key}`, row]))
  }

  return async (
    rows: readonly OutboxDocument[],
    known: readonly MessageDocument[] = [],
  ): Promise<PublishedEvent[]> => {
    const about = rows.filter(({ messageId, type }) => !messageId && type !== 'conversation.deleted')
    const [messageOf, views] = await Promise.all([
      messagesOf(rows, known),
      about.length === 0 ? new Map<string, RoomConversation>() : roomViews(about.map(({ cid }) => cid)),
    ])
    // After the views: those who still take part may see what they show.
    const added = await addedOf(rows)

    function dataOf({
      type,
      cid,
      messageId,
      participant,
      changed,
    }: OutboxDocument): PublishedData<PublishedEventType> | undefined {
      if (messageId) {
        const row = messageOf.get(messageId.toHexString())
        return row && toMessage(row)
      }
      if (type === 'conversation.deleted') return null
      const conversation = views.get(cid.toHexString())
      if (!conversation) return undefined
      if (type === 'conversation.created') return isNew(conversation) ? conversation : undefined
      if (type === 'conversation.updated') return { changed: changed ?? [], conversation }
      if (participant === undefined) return undefined
      if (type === 'participant.removed') {
        return { participant: parseParticipantKey(participant), conversation }
      }
      const row = added.get(`${cid.toHexString()}${participant}`)
      return row && { participant: toParticipant(row), conversation }
    }

    return rows.map((row) => {
      const event: PublishedEvent = { type: row.type, org: row.org, cid: row.cid.toHexString() }
      if (row.change > 0) event.change = row.change
      if (row.participant) event.member = row.participant
      if (row.to) event.to = row.to
      const data = dataOf(row)
      if (data !== undefined) event.data = JSON.stringify(data)
      return event
    })
  }
}
