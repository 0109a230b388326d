import { EventEmitter } from 'node:events'
import type { Receipt } from '@parley/contract'
import type { Room } from './delivery/room.ts'
import type { ChatSocket } from './sockets.ts'

/** What happens to sockets and rooms of this gateway, for the features that listen to it. */
interface LifecycleEvents {
  /** A socket was admitted. */
  connected: [socket: ChatSocket]
  /** It is gone, having left its rooms before. */
  disconnected: [socket: ChatSocket]
  /** A socket is in a room, its acknowledgement sent. */
  joined: [socket: ChatSocket, room: Room]
  left: [socket: ChatSocket, room: Room]
  /** The first socket here is about to be in the room; its participants are known. */
  roomOpened: [room: Room]
  /** The last one here has left. */
  roomClosed: [room: Room]
  /** It skipped events; its clients were asked to fetch the state. */
  skipped: [room: Room]
  /** `room.participants` has changed. */
  participantsChanged: [room: Room]
  /** A message goes out to the room, in its order: its JSON text. */
  message: [room: Room, message: string]
  /** The latest state of a message is about to go out to the room, in its order. */
  messageChanged: [room: Room, message: string]
  /** Somebody (`user:ada`), or everybody, no longer takes part; called whether or not the room is open here. */
  expelled: [conversationId: string, key: string | null]
  /** A read position moved. */
  receipt: [room: Room, receipt: Receipt]
}

export type Lifecycle = EventEmitter<LifecycleEvents>

export const createLifecycle = (): Lifecycle => new EventEmitter()
