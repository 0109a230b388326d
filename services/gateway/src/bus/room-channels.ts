import { roomChannel } from '@parley/contract'
import type { Lifecycle } from '../lifecycle.ts'
import type { Bus } from './bus.ts'

/** Hears what other gateways say about each room that is open here: typing, presence, streamed text. */
export function hearRooms(bus: Bus, lifecycle: Lifecycle): void {
  lifecycle.on('roomOpened', ({ conversationId }) => void bus.hold(roomChannel(conversationId)))
  lifecycle.on('roomClosed', ({ conversationId }) => bus.release(roomChannel(conversationId)))
}
