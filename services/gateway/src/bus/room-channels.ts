import { roomChannel } from '@parley/contract'
import type { Lifecycle } from '../lifecycle.ts'
import type { Bus } from './bus.ts'

/** Hears, for each room that is open here, what other gateways tell of it: typing, who is there, streamed text. */
export function hearRooms(bus: Bus, lifecycle: Lifecycle): void {
  lifecycle.on('roomOpened', ({ conversationId }) => void bus.hold(roomChannel(conversationId)))
  lifecycle.on('roomClosed', ({ conversationId }) => bus.release(roomChannel(conversationId)))
}
