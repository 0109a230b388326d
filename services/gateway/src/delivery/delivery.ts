import { PUBLISHED_EVENTS, type Receipt, type RoomConversation } from '@parley/contract'
import type { Partition, TailEvent } from '@parley/events'
import { createHighest } from '@parley/service-kit'
import { z } from 'zod'
import type { Core } from '../services.ts'
import { createCompare } from './compare.ts'
import type { Feed, FeedMetrics } from './feed.ts'
import { createMembership } from './membership.ts'
import { createMissed } from './missed.ts'
import { createNotices } from './notices.ts'
import { createRetry } from './retry.ts'
import { createRoomAccess, type RoomAccess } from './room-access.ts'
import { createSlots } from './slots.ts'
import { ANSWER_TIMEOUT_MS } from './timeouts.ts'

const MAX_CONCURRENT_FILLS = 16
/** Messages, and changes, of one fill. */
const FILL_PAGE = 100
/** Most pairs of person and conversation whose last change is remembered. */
const MAX_PEOPLE = 10_000

/** Passed on as it is, without a look into it. */
const AboutParticipant = z.object({ conversation: z.unknown() })
const ReadData = z.object(PUBLISHED_EVENTS['receipt.read'].shape)

export type Delivery = ReturnType<typeof createDelivery>

/** Everything that reaches rooms from the streams, and from the api where the streams lack it. */
export function createDelivery(core: Core, metrics: FeedMetrics) {
  const { api, people, rooms, lifecycle } = core
  const slots = createSlots(MAX_CONCURRENT_FILLS)
  const changes = createHighest(MAX_PEOPLE)
  const notices = createNotices(core)
  const retries = createRetry(core)
  const { retry } = retries
  const missed = createMissed(core, { onAdded: tellAdded, onReceipt: tellReceipt, retry })
  const membership = createMembership(core, { notices, roomAccess: () => roomAccess })
  const roomAccess: RoomAccess = createRoomAccess(core, {
    fetch: (conversationId, { seq, change }) =>
      slots.run(() =>
        api.internal(
          '/internal/fill',
          { conversationId, afterSeq: seq, afterChangeSeq: change, limit: FILL_PAGE },
          { key: conversationId, timeoutMs: ANSWER_TIMEOUT_MS },
        ),
      ),
    onUnsure: membership.recheck,
    onSkipped: (room) => lifecycle.emit('skipped', room),
    onMessage: (room, message) => lifecycle.emit('message', room, message),
    onMessageChanged: (room, message) => lifecycle.emit('messageChanged', room, message),
    metrics,
  })
  const comparison = createCompare(core, { roomAccess, retry })

  function onEvents(events: readonly TailEvent[]): void {
    const touched = new Set<Feed>()
    for (const event of events) {
      const feed = roomAccess.feed(event.cid)
      if (feed) {
        touched.add(feed)
        feed.apply(event)
      }
      if (feed || people.hasOrg(event.org)) notice(event, feed)
    }
    for (const feed of touched) feed.advance()
    // Before the tail asks for more: those who wait for these come first.
    rooms.flush()
  }

  /** What an event leads to besides its place in the order. */
  function notice(event: TailEvent, feed: Feed | undefined): void {
    switch (event.type) {
      case 'message.created':
        if (event.to) notices.activity(event)
        break
      case 'message.deleted':
        notices.deleted(event)
        break
      case 'conversation.created':
        onAdded(event, event.to ?? [], event.data)
        break
      case 'conversation.deleted':
        // Noted for each: nothing that happened to them before counts any more.
        for (const member of event.to ?? []) isOvertaken({ ...event, member })
        notices.ended(event)
        roomAccess.endRoom(event.cid)
        break
      case 'participant.added':
      case 'participant.removed':
        onParticipant(event, feed)
        break
      case 'receipt.read':
        onReceipt(event)
        break
    }
  }

  /** `conversation`: JSON text; undefined if it is too long for the event or may be old: the api is asked. */
  function onAdded({ org, cid }: TailEvent, keys: readonly string[], conversation: string | undefined): void {
    if (conversation === undefined) missed.lookUp(org, cid, keys)
    else notices.added(org, keys, conversation)
  }

  /** As the api found it; what was heard since may have undone it, and has been told. */
  function tellAdded(keys: readonly string[], conversation: RoomConversation): void {
    const { id, changeSeq } = conversation
    const isLatest = (key: string): boolean => changes.of(`${id} ${key}`) <= changeSeq
    notices.addedBefore(keys.filter(isLatest), conversation)
  }

  function onParticipant(event: TailEvent, feed: Feed | undefined): void {
    const { type, org, cid, member, data } = event
    const overtaken = isOvertaken(event)
    const behind = overtaken || isBehind(event, feed)
    if (feed) roomAccess.restartJoins(feed.room)
    if (feed && (behind || member === undefined)) membership.recheck(feed.room)
    if (member === undefined) return
    if (type === 'participant.added') {
      // Also where a check found nothing changed, since they had left and come back before it.
      if (!overtaken) feed?.room.readPositions.delete(member)
      const now = behind ? undefined : data
      onAdded(event, [member], now && JSON.stringify(AboutParticipant.parse(JSON.parse(now)).conversation))
      if (feed && !behind) membership.added(feed.room, member)
      return
    }
    // One that may be out of date is told only if the room's list agrees; otherwise the recheck decides.
    const isOut = !behind || (!overtaken && feed?.room.participants.has(member) === false)
    if (isOut && !feed?.room.dismissed.delete(member)) notices.removed(org, cid, member)
    if (behind) return
    lifecycle.emit('expelled', cid, member)
    if (feed) membership.removed(feed.room, member, people.of(org, member))
  }

  /** Events about participants come in any order: one heard earlier, about a later change, may have undone this one. */
  const isOvertaken = ({ cid, member, change }: TailEvent): boolean =>
    member !== undefined && change !== undefined && !changes.isNews(`${cid} ${member}`, change)

  /** The room is past this change, or has heard of a later one: either may have undone it. */
  function isBehind({ change }: TailEvent, feed: Feed | undefined): boolean {
    const at = feed?.position()
    if (!feed || !at || change === undefined) return false
    return change <= at.change || change < feed.lastChange()
  }

  function onReceipt({ cid, data }: TailEvent): void {
    if (data === undefined || !roomAccess.feed(cid)) return
    const { type, id, readSeq } = ReadData.parse(JSON.parse(data))
    tellReceipt({ conversationId: cid, participantType: type, participantId: id, userId: id, readSeq })
  }

  /** Tells each position once, and never a lower one after a higher: api processes publish them in any order. */
  function tellReceipt(receipt: Receipt): void {
    const room = roomAccess.feed(receipt.conversationId)?.room
    if (room?.raiseRead(receipt) && room.isOpen) lifecycle.emit('receipt', room, receipt)
  }

  return {
    roomAccess,
    /** Whether anybody here is, or may be, concerned with this conversation. */
    wants: (org: string, cid: string): boolean => people.hasOrg(org) || roomAccess.feed(cid) !== undefined,
    onEvents,
    /** Events of the partition may have been missed since then (milliseconds since 1970). */
    onLoss(partition: Partition, since: number): void {
      comparison.onLoss(partition)
      missed.note(since)
    },
    /** Whether events arrive by the streams. */
    onTailState: comparison.onTailState,
    recheck: membership.recheck,
    close(): void {
      retries.close()
      comparison.close()
      missed.close()
      notices.close()
      membership.close()
      for (const feed of roomAccess.feeds()) feed.close()
    },
  }
}
