import { setTimeout as delay } from 'node:timers/promises'
import { conversationOfChannel, type Message, roomChannel, type StreamUpdate } from '@parley/contract'
import type { ApiClient, Logger } from '@parley/service-kit'
import { LRUCache } from 'lru-cache'
import type { Bus } from '../bus/bus.ts'
import type { Outbound } from '../connection/outbound.ts'
import type { Room, Rooms } from '../delivery/rooms.ts'
import type { Lifecycle } from '../lifecycle.ts'
import { createMirror, type Mirror, type Piece } from './mirror.ts'
import { decodePiece, type StreamPiece } from './piece.ts'
import type { StreamStore } from './store.ts'

/** Milliseconds between two attempts to read a text with missing pieces. */
const RETRY_MS = 100
/** Milliseconds after which a room's streams are looked up again, if Redis or the api was away. */
const FIND_AGAIN_MS = 1_000
/** Consecutive reads without a text after which a stream counts as gone. */
const MAX_MISSES = 50
/** Most recently ended streams to remember: what still arrives of them is dropped. */
const MAX_ENDED = 10_000

interface Live {
  room: Room
  messageId: string
  seq: number
  mirror: Mirror
  /** Its text is known from the beginning; until then pieces are gathered and nothing goes out. */
  ready: boolean
  /** The room had the message: pieces go out. */
  open: boolean
  /**
   * Operation of the first piece, sent once `ready` and `open` both hold: `delta` if the room saw the stream start,
   * else `snapshot`.
   */
  first: Piece['op']
  reading: boolean
  /** Consecutive reads that found no text. */
  misses: number
}

/**
 * Streamed answers as the rooms here see them: pieces in order, once each; for later joiners a snapshot first; at the
 * end its outcome, just before the message's final state.
 */
export function createStreamFollower({
  bus,
  api,
  rooms,
  outbound,
  lifecycle,
  store,
  logger,
  onEnded,
}: {
  bus: Bus
  api: Pick<ApiClient, 'internal'>
  rooms: Rooms
  outbound: Outbound
  lifecycle: Lifecycle
  store: StreamStore
  logger: Logger
  /** A stream has ended, whoever ended it. */
  onEnded(messageId: string): void
}) {
  const lives = new Map<Room, Map<string, Live>>()
  const ended = new LRUCache<string, true>({ max: MAX_ENDED })
  /** Rooms whose streams are being looked up; true: once more, since a piece of an unknown one came meanwhile. */
  const finding = new Map<Room, boolean>()

  function emit({ room, messageId, seq }: Live, op: StreamUpdate['op'], index: number, text?: string): void {
    const { conversationId } = room
    const update: StreamUpdate = { conversationId, messageId, seq, op, index }
    if (text !== undefined) update.text = text
    rooms.emit(conversationId, 'message:stream', update)
  }

  function follow(room: Room, messageId: string, seq: number, fresh: boolean): Live {
    const known = lives.get(room)?.get(messageId)
    if (known) return known
    const live: Live = {
      room,
      messageId,
      seq,
      mirror: createMirror(),
      ready: fresh,
      open: false,
      first: fresh ? 'delta' : 'snapshot',
      reading: false,
      misses: 0,
    }
    const ofRoom = lives.get(room) ?? new Map<string, Live>()
    lives.set(room, ofRoom)
    ofRoom.set(messageId, live)
    room.afterMessage(seq, () => {
      live.open = true
      begin(live)
    })
    if (!fresh) void read(live)
    return live
  }

  const isFollowed = (live: Live): boolean => lives.get(live.room)?.get(live.messageId) === live

  /** The first piece for the room, once it has the message and the text is known. */
  function begin(live: Live): void {
    if (!live.ready || !live.open || !isFollowed(live)) return
    const { text } = live.mirror
    if (text !== '' || live.first === 'snapshot') emit(live, live.first, 0, text)
  }

  function tell(live: Live, pieces: readonly Piece[]): void {
    if (!live.ready || !live.open) return
    for (const { op, index, text } of pieces) emit(live, op, index, text)
  }

  /** Gets the whole text where pieces are missing, until none are. */
  async function read(live: Live): Promise<void> {
    if (live.reading) return
    live.reading = true
    let complete = false
    try {
      const text = await store.read(live.messageId)
      if (!isFollowed(live)) return
      live.misses = text === null ? live.misses + 1 : 0
      if (text !== null) {
        const whole = live.mirror.whole(text)
        complete = whole.complete
        if (live.ready) tell(live, whole.pieces)
        else {
          live.ready = true
          begin(live)
        }
      }
    } catch (error) {
      logger.debug({ err: error, messageId: live.messageId }, 'the text of a stream could not be read')
    } finally {
      live.reading = false
    }
    if (live.misses > MAX_MISSES) remove(live)
    else if (!complete && isFollowed(live)) setTimeout(() => void read(live), RETRY_MS)
  }

  /** `isOwn`: of an answer that this gateway owns, told while Redis is away. */
  function take(
    conversationId: string,
    { messageId, seq, index, text }: StreamPiece,
    { isOwn }: { isOwn: boolean },
  ): void {
    const room = rooms.get(conversationId)
    if (!room?.isOpen || ended.has(messageId)) return
    const known = lives.get(room)?.get(messageId)
    if (!known && !isOwn && seq <= room.position.seq) {
      // The room is past its message and does not follow it: it may have ended before, unheard of by its owner.
      void find(room)
      return
    }
    const live = known ?? follow(room, messageId, seq, index === 0)
    const piece = live.mirror.piece(index, text)
    if (piece === 'whole') void read(live)
    else if (piece) tell(live, [piece])
  }

  function remove({ room, messageId }: Live): void {
    const ofRoom = lives.get(room)
    ofRoom?.delete(messageId)
    if (ofRoom?.size === 0) lives.delete(room)
  }

  function end(live: Live, op: 'end' | 'cancelled' | 'failed', content: string | null): void {
    remove(live)
    const { text } = live.mirror
    // Not open yet: the message itself goes out in this turn, and no text did before.
    const hasBegun = live.ready && live.open
    const told = hasBegun ? text : ''
    if (content !== null && content.length > told.length && content.startsWith(told)) {
      emit(live, hasBegun ? 'delta' : live.first, told.length, content.slice(told.length))
    }
    emit(live, op, content?.length ?? text.length)
  }

  bus.handle('stream', (channel, payload) => {
    take(conversationOfChannel(channel), decodePiece(payload), { isOwn: false })
  })
  bus.onRestored(() => {
    for (const ofRoom of lives.values()) for (const live of ofRoom.values()) void read(live)
  })

  /**
   * What the api says of it: one that ended while Redis or its owner was away may have left its text there. Undefined
   * if the message can't be seen yet.
   */
  async function statusOf(
    { conversationId, position }: Room,
    { messageId, seq }: Pick<Live, 'messageId' | 'seq'>,
  ): Promise<Message['status'] | undefined> {
    const { messages } = await api.internal(
      '/internal/fill',
      { conversationId, afterSeq: seq - 1, afterChangeSeq: position.change, limit: 1 },
      { key: conversationId },
    )
    return messages.find(({ id }) => id === messageId)?.status
  }

  /** Resolves to whether Redis and the api answered. */
  async function look(room: Room): Promise<boolean> {
    const channel = roomChannel(room.conversationId)
    try {
      // Heard first, read then: what comes in between is heard twice rather than never.
      await bus.hold(channel)
      for (const listed of await store.list(room.conversationId)) {
        const { messageId, seq } = listed
        const status = await statusOf(room, listed)
        if (status !== undefined && status !== 'streaming') noteEnd(messageId)
        // Also one that is followed: its first pieces may have come before the room was open.
        else if (status && room.isOpen && !ended.has(messageId)) {
          void read(follow(room, messageId, seq, false))
        }
      }
      return true
    } catch (error) {
      logger.debug({ err: error }, 'a room’s streams are not known yet')
      return false
    } finally {
      bus.release(channel)
    }
  }

  /** Finds a room's streams, and begins each with a snapshot. */
  async function find(room: Room): Promise<void> {
    if (finding.has(room)) {
      finding.set(room, true)
      return
    }
    do {
      finding.set(room, false)
      if (await look(room)) continue
      finding.set(room, true)
      await delay(FIND_AGAIN_MS, undefined, { ref: false })
    } while (room.isOpen && finding.get(room))
    finding.delete(room)
  }

  function noteEnd(messageId: string): void {
    ended.set(messageId, true)
    onEnded(messageId)
  }

  lifecycle.on('roomOpened', (room) => void find(room))
  lifecycle.on('roomClosed', (room) => lives.delete(room))
  lifecycle.on('skipped', (room) => {
    // Any of them may have ended in between.
    lives.delete(room)
    void find(room)
  })
  lifecycle.on('joined', (socket, room) => {
    for (const { ready, open, messageId, seq, mirror } of lives.get(room)?.values() ?? []) {
      if (!ready || !open) continue
      const { conversationId } = room
      const snapshot: StreamUpdate = {
        conversationId,
        messageId,
        seq,
        op: 'snapshot',
        index: 0,
        text: mirror.text,
      }
      outbound.emit(socket, 'message:stream', snapshot)
    }
  })
  lifecycle.on('message', (room, json) => {
    if (!json.includes('"status":"streaming"')) return
    const { id, seq, status, content }: Message = JSON.parse(json)
    if (status === 'streaming' && !ended.has(id)) follow(room, id, seq, content === '')
  })
  lifecycle.on('messageChanged', (room, json) => {
    const { id, status, content, deletedAt }: Message = JSON.parse(json)
    if (status === 'streaming' && deletedAt === null) return
    // Also if it is not followed: `find` may be about to.
    noteEnd(id)
    const one = lives.get(room)?.get(id)
    if (!one) return
    if (deletedAt !== null) end(one, 'cancelled', null)
    else end(one, status === 'sent' ? 'end' : status === 'failed' ? 'failed' : 'cancelled', content)
  })

  return {
    /** Tells a room here while Redis can't. */
    deliver: (conversationId: string, piece: StreamPiece): void =>
      take(conversationId, piece, { isOwn: true }),
  }
}
