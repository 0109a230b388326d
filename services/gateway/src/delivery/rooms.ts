import { problem, type ServerEvent, type ServerPayload } from '@parley/contract'
import { encodeFrame } from '../connection/frames.ts'
import type { Outbound } from '../connection/outbound.ts'
import type { ChatSocket } from '../sockets.ts'
import { createRoom, type EmitOptions, type Room } from './room.ts'

export type { EmitOptions, Room } from './room.ts'
export type Rooms = ReturnType<typeof createRooms>

/** The conversations that somebody here follows. */
export function createRooms({ outbound }: { outbound: Outbound }) {
  const rooms = new Map<string, Room>()
  let dirty: Room[] = []

  function flush(): void {
    const batch = dirty
    dirty = []
    for (const room of batch) room.flush()
  }

  /** Unless `flush` is called before, what is sent to rooms goes out right after the current turn of the event loop. */
  function onDirty(room: Room): void {
    if (dirty.push(room) === 1) queueMicrotask(flush)
  }

  return {
    get: (conversationId: string): Room | undefined => rooms.get(conversationId),
    all: (): Iterable<Room> => rooms.values(),
    get size(): number {
      return rooms.size
    },
    /** Finds or makes a room; see delivery/room-access.ts for who opens and closes them. */
    ensure(conversationId: string): Room {
      let room = rooms.get(conversationId)
      if (!room) {
        room = createRoom({ conversationId, outbound, onDirty })
        rooms.set(conversationId, room)
      }
      return room
    },
    delete(room: Room): void {
      if (rooms.get(room.conversationId) === room) rooms.delete(room.conversationId)
    },
    /** Writes what waits in rooms: all that one batch of events says to a socket goes out in one piece. */
    flush,
    isIn: (socket: ChatSocket, conversationId: string): boolean =>
      rooms.get(conversationId)?.sockets.has(socket) ?? false,
    /** The room that this socket is in. Throws `forbidden` if it has not joined. */
    assertJoined(socket: ChatSocket, conversationId: string): Room {
      const room = rooms.get(conversationId)
      if (!room?.sockets.has(socket)) {
        throw problem('forbidden', { detail: 'Join the conversation first' })
      }
      return room
    },
    /** An event to the sockets of this gateway in the room. Other gateways hear of it by bus/. */
    emit<E extends ServerEvent>(
      conversationId: string,
      event: E,
      payload: ServerPayload<E>,
      options?: EmitOptions,
    ): void {
      const room = rooms.get(conversationId)
      if (!room || room.sockets.size === 0) return
      const frame = encodeFrame(event, JSON.stringify(payload))
      if (options?.except || options?.volatile) room.sendSome(frame, options)
      else room.send(frame)
    },
  }
}
