import {
  type Change,
  type InternalJoinResult,
  type JoinPayload,
  type JoinResult,
  LIMITS,
  type Message,
  type Online,
  participantKey,
  problem,
  type Receipt,
  type ServerPayload,
} from '@parley/contract'
import type { RosterView } from '../presence/rosters.ts'
import type { Core } from '../services.ts'
import type { ChatSocket } from '../sockets.ts'
import { type Attempt, createFeed, type Feed, type FeedDependencies } from './feed.ts'
import { createJoins } from './joins.ts'
import type { Room, Watermark } from './room.ts'

/** Times that a join asks the api, since something may change meanwhile. */
const MAX_ASKS = 5

type Removal = ServerPayload<'conversation:removed'>['reason']
export type RoomAccess = ReturnType<typeof createRoomAccess>

/** Which sockets are in which room: joins, leaves, removals; and a feed for each room as long as anyone needs it. */
export function createRoomAccess(
  { api, rooms, lifecycle, outbound }: Pick<Core, 'api' | 'rooms' | 'lifecycle' | 'outbound'>,
  dependencies: Omit<FeedDependencies, 'onGone'>,
) {
  const feeds = new Map<string, Feed>()
  const joins = createJoins(api)

  function ensure(conversationId: string): Feed {
    let feed = feeds.get(conversationId)
    if (!feed) {
      const room = rooms.ensure(conversationId)
      feed = createFeed(room, { ...dependencies, onGone: endRoom })
      feeds.set(conversationId, feed)
    }
    return feed
  }

  function closeIfEmpty(feed: Feed): void {
    const { room, attempts } = feed
    if (room.sockets.size > 0 || attempts.size > 0 || feeds.get(room.conversationId) !== feed) return
    feeds.delete(room.conversationId)
    rooms.delete(room)
    feed.close()
    if (!room.isOpen) return
    room.close()
    lifecycle.emit('roomClosed', room)
  }

  /** Throws `conflict` if the socket is in, or about to be in, as many other conversations as it may be. */
  function assertSpace({ data: { session } }: ChatSocket, conversationId: string): void {
    const taken = new Set([...session.rooms, ...session.joining.values()])
    const room = rooms.get(conversationId)
    if (taken.size < LIMITS.roomsPerSocket || (room && taken.has(room))) return
    const detail = `A socket may be in ${LIMITS.roomsPerSocket} conversations; leave one to join another`
    throw problem('conflict', { detail })
  }

  /** Nothing has happened since the api was asked that its answer might lack. */
  const isCurrent = (attempt: Attempt, socket: ChatSocket): boolean =>
    !attempt.stale && attempt.caller === socket.data.caller

  async function ask(
    feed: Feed,
    attempt: Attempt,
    socket: ChatSocket,
    payload: JoinPayload,
  ): Promise<InternalJoinResult> {
    for (let asked = 0; asked < MAX_ASKS; asked++) {
      const { caller } = socket.data
      attempt.stale = false
      attempt.caller = caller
      const answer = await joins.ask({ caller, ...payload, ...(feed.room.isOpen ? {} : { members: true }) })
      if (isCurrent(attempt, socket)) return answer
    }
    throw problem('unavailable', { retryAfter: 1 })
  }

  /**
   * Lets a socket into the room of a conversation. Registers interest before asking the api, so that no event falls
   * between its answer and the room. Acknowledging, entering the room and closing the view happen synchronously.
   */
  async function join<T>(
    socket: ChatSocket,
    payload: JoinPayload,
    viewRoster: () => Promise<RosterView>,
    acknowledge: (result: JoinResult) => T,
  ): Promise<T> {
    const { session, orgId } = socket.data
    const feed = ensure(payload.conversationId)
    const { room } = feed
    const attempt: Attempt = { stale: false, caller: socket.data.caller }
    feed.attempts.add(attempt)
    session.joining.set(attempt, room)
    let view: RosterView | undefined
    try {
      const first = await ask(feed, attempt, socket, payload)
      // After the answer: joins that were answered together thus share one view.
      view = await viewRoster()
      const answer = isCurrent(attempt, socket) ? first : await ask(feed, attempt, socket, payload)
      if (!socket.connected) throw problem('unavailable', { detail: 'The socket is gone' })
      if (!room.isOpen) {
        // Not earlier: a refused join may come from another org.
        room.open({ orgId, participants: (answer.members ?? []).map(participantKey) })
        feed.open({ seq: answer.throughSeq, stored: answer.lastSeq, change: answer.changeSeq })
        for (const receipt of answer.receipts) room.raiseRead(receipt)
        lifecycle.emit('roomOpened', room)
      }
      const { key } = socket.data
      const { result, from } = merge(feed, answer, payload, { key, online: view.join(key) })
      const acknowledged = acknowledge(result)
      const isNew = !room.sockets.has(socket)
      room.add(socket, isNew ? from : carried(payload, from))
      feed.hint({ seq: answer.throughSeq, change: answer.changeSeq })
      if (isNew) lifecycle.emit('joined', socket, room)
      return acknowledged
    } finally {
      view?.close()
      session.joining.delete(attempt)
      feed.attempts.delete(attempt)
      closeIfEmpty(feed)
    }
  }

  /** Brings the api's answer up to where the room stands. */
  function merge(
    feed: Feed,
    answer: InternalJoinResult,
    { afterSeq, afterChangeSeq }: JoinPayload,
    { key, online }: { key: string; online: Online },
  ): { result: JoinResult; from: Watermark } {
    const at = feed.position() ?? { seq: 0, stored: 0, change: 0 }
    const { readPositions } = feed.room
    const result: JoinResult = {
      lastSeq: Math.max(answer.lastSeq, at.stored),
      changeSeq: Math.max(answer.changeSeq, at.change),
      readSeq: Math.max(answer.readSeq, readPositions.get(key) ?? 0),
      unread: answer.unread,
      messages: answer.messages,
      hasMore: answer.hasMore,
      changes: answer.changes,
      receipts: withReads(answer.receipts, readPositions),
      online,
    }
    if (answer.role !== null) result.unread = Math.max(0, result.lastSeq - result.readSeq)
    if (afterSeq !== undefined && at.seq > answer.throughSeq && !result.hasMore) {
      const later = feed.messagesSince(answer.throughSeq)
      if (later && result.messages.length + later.length <= LIMITS.joinPage) {
        result.messages = [...result.messages, ...later.map((text): Message => JSON.parse(text))]
      } else result.hasMore = true
    }
    if (at.change > answer.changeSeq && (afterSeq !== undefined || afterChangeSeq !== undefined)) {
      const later = feed.changesSince(answer.changeSeq)?.map((text): Change => JSON.parse(text))
      // The room has been told these changes already: the messages have to show their result.
      result.messages = later ? withChanges(result.messages, later) : []
      if (later && result.changes.length + later.length <= LIMITS.joinPage) {
        if (afterChangeSeq !== undefined && !result.hasMore) result.changes = [...result.changes, ...later]
      } else result.hasMore = true
    }
    return { result, from: { seq: Math.max(answer.throughSeq, at.seq), change: result.changeSeq } }
  }

  function leave(socket: ChatSocket, room: Room): void {
    if (!room.remove(socket)) return
    lifecycle.emit('left', socket, room)
    const feed = feeds.get(room.conversationId)
    if (feed) closeIfEmpty(feed)
  }

  /** Takes a socket out of a room and says why. */
  function expel(socket: ChatSocket, room: Room, reason: Removal): void {
    outbound.emit(socket, 'conversation:removed', { conversationId: room.conversationId, reason })
    leave(socket, room)
  }

  /** Joins under way ask the api again before they are let in. */
  function restartJoins(room: Room): void {
    for (const attempt of feeds.get(room.conversationId)?.attempts ?? []) attempt.stale = true
  }

  /** The conversation is gone: everybody leaves its room. */
  function endRoom(conversationId: string): void {
    lifecycle.emit('expelled', conversationId, null)
    const room = feeds.get(conversationId)?.room
    if (!room) return
    restartJoins(room)
    for (const socket of [...room.sockets]) expel(socket, room, 'deleted')
  }

  return {
    feed: (conversationId: string): Feed | undefined => feeds.get(conversationId),
    feeds: (): Iterable<Feed> => feeds.values(),
    assertSpace,
    join,
    leave,
    expel,
    restartJoins,
    endRoom,
  }
}

/** How far the acknowledgement itself goes: a socket already in the room gets the rest as events. */
const carried = ({ afterSeq, afterChangeSeq }: JoinPayload, { seq, change }: Watermark): Watermark => ({
  seq: afterSeq === undefined ? 0 : seq,
  change: afterChangeSeq === undefined ? 0 : change,
})

/** The messages, each as the last of these changes left it. */
function withChanges(messages: readonly Message[], changes: readonly Change[]): Message[] {
  const latest = new Map(changes.flatMap(({ message }) => (message ? [[message.id, message]] : [])))
  return messages.map((message) => latest.get(message.id) ?? message)
}

/** The same, or with what the room was told since. */
function withReads(receipts: Receipt[], readPositions: ReadonlyMap<string, number>): Receipt[] {
  const told = ({ participantType: type, participantId: id, readSeq }: Receipt): number =>
    Math.max(readSeq, readPositions.get(participantKey({ type, id })) ?? 0)
  if (receipts.every((receipt) => told(receipt) === receipt.readSeq)) return receipts
  return receipts.map((receipt) => ({ ...receipt, readSeq: told(receipt) }))
}
