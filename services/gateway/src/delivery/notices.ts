import { type LastMessage, type Message, previewOf, type RoomConversation } from '@parley/contract'
import type { TailEvent } from '@parley/events'
import { createHighest } from '@parley/service-kit'
import { encodeFrame, type Frame } from '../connection/frames.ts'
import type { Core } from '../services.ts'
import type { ChatSocket } from '../sockets.ts'
import { numbersOf } from './payloads.ts'

/** Milliseconds between two `conversation:activity` of one conversation. */
const ACTIVITY_MS = 1_000
/** Most conversations whose last message is remembered. */
const MAX_CONVERSATIONS = 10_000

interface Activity {
  timer: NodeJS.Timeout
  /** The newest event that has not been told yet. */
  next: TailEvent | null
}

export type Notices = ReturnType<typeof createNotices>

/** What participants are told about their conversations, whether or not they follow them here. */
export function createNotices({
  people,
  rooms,
  outbound,
}: {
  people: Core['people']
  rooms: Pick<Core['rooms'], 'isIn'>
  outbound: Pick<Core['outbound'], 'write'>
}) {
  const active = new Map<string, Activity>()
  const messages = createHighest(MAX_CONVERSATIONS)

  function send(sockets: Iterable<ChatSocket>, frame: Frame): void {
    for (const socket of sockets) outbound.write(socket, [frame], frame.wire, null)
  }

  function* outsiders({ org, cid, to = [] }: TailEvent): Iterable<ChatSocket> {
    for (const key of to) {
      for (const socket of people.of(org, key)) if (!rooms.isIn(socket, cid)) yield socket
    }
  }

  function tell(event: TailEvent): void {
    const sockets = [...outsiders(event)]
    if (sockets.length === 0) return
    const payload = {
      conversationId: event.cid,
      lastSeq: event.seq ?? 0,
      lastMessage: event.data === undefined ? null : lastMessage(event.data),
    }
    send(sockets, encodeFrame('conversation:activity', JSON.stringify(payload)))
  }

  function activity(event: TailEvent): void {
    // A message that could not be published at once arrives after later ones.
    if (!messages.isNews(event.cid, event.seq ?? 0)) return
    const known = active.get(event.cid)
    if (known) {
      known.next = event
      return
    }
    if (outsiders(event)[Symbol.iterator]().next().done) return
    tell(event)
    rest(event.cid)
  }

  function rest(conversationId: string): void {
    const entry: Activity = {
      next: null,
      timer: setTimeout(() => {
        active.delete(conversationId)
        if (!entry.next) return
        tell(entry.next)
        rest(conversationId)
      }, ACTIVITY_MS),
    }
    active.set(conversationId, entry)
  }

  return {
    activity,
    /** If the deleted message is the next to be told, it is told without its text. */
    deleted({ cid, data }: TailEvent): void {
      const entry = active.get(cid)
      if (!entry?.next || data === undefined) return
      if (numbersOf(data).seq === entry.next.seq) entry.next = { ...entry.next, data }
    },
    /** `conversation` is JSON text. */
    added(org: string, keys: readonly string[], conversation: string): void {
      const frame = encodeFrame('conversation:added', `{"conversation":${conversation}}`)
      for (const key of keys) send(people.of(org, key), frame)
    },
    /** The same for those who may have missed it; sockets that follow it here know of it. */
    addedBefore(keys: readonly string[], conversation: RoomConversation): void {
      const { id, orgId } = conversation
      const frame = encodeFrame('conversation:added', JSON.stringify({ conversation }))
      for (const key of keys) {
        for (const socket of people.of(orgId, key)) if (!rooms.isIn(socket, id)) send([socket], frame)
      }
    },
    /** Somebody (`user:ada`) no longer takes part. Their sockets in the room are told as they are taken out of it. */
    removed(org: string, conversationId: string, key: string): void {
      const entry = active.get(conversationId)
      // What waits for its second must not come after this.
      if (entry?.next) entry.next = { ...entry.next, to: entry.next.to?.filter((one) => one !== key) ?? [] }
      const frame = removedFrame(conversationId, 'removed')
      for (const socket of people.of(org, key)) if (!rooms.isIn(socket, conversationId)) send([socket], frame)
    },
    /** The conversation is gone; the same. */
    ended(event: TailEvent): void {
      const entry = active.get(event.cid)
      if (entry) entry.next = null
      send(outsiders(event), removedFrame(event.cid, 'deleted'))
    },
    close(): void {
      for (const { timer } of active.values()) clearTimeout(timer)
      active.clear()
    },
  }
}

const removedFrame = (conversationId: string, reason: 'removed' | 'deleted'): Frame =>
  encodeFrame('conversation:removed', JSON.stringify({ conversationId, reason }))

/** The fields shown of a conversation's last message; a newer api may send more. */
function lastMessage(data: string): LastMessage {
  const message: Message = JSON.parse(data)
  const { id, seq, role, participantType, participantId, createdAt } = message
  return { id, seq, role, participantType, participantId, preview: previewOf(message), createdAt }
}
