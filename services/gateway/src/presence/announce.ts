import { ParticipantRef, parseParticipantKey, participantKey } from '@parley/contract'
import type { Bus } from '../bus/bus.ts'
import { conversationOf } from '../bus/room-channels.ts'
import type { Outbound } from '../connection/outbound.ts'
import { encodeFrame } from '../delivery/frames.ts'
import type { Rooms } from '../delivery/rooms.ts'
import type { ChatSocket } from '../sockets.ts'
import type { Aggregates } from './aggregates.ts'
import type { Audience } from './audience.ts'
import type { Rolls } from './rolls.ts'
import { Transition } from './writes.ts'

/** Passes on to sockets here what the presence scripts tell all gateways. */
export function announcePresence({
  bus,
  outbound,
  audience,
  aggregates,
  rolls,
}: {
  bus: Bus
  outbound: Outbound
  audience: Audience
  aggregates: Aggregates
  rolls: Rolls
}): void {
  bus.handle('presence', (_channel, payload) => {
    const { orgId, type, id, status, at } = Transition.parse(JSON.parse(payload))
    const key = participantKey({ type, id })
    const concerned = audience.of(orgId, key)
    if (concerned.size === 0) return
    const frame = encodeFrame(
      'presence:update',
      JSON.stringify({ participantType: type, participantId: id, userId: id, status, at }),
    )
    const told = new Set<ChatSocket>()
    for (const room of concerned) {
      if (aggregates.isLarge(room)) {
        aggregates.turn(room, status, key)
        continue
      }
      for (const socket of room.sockets) {
        if (told.has(socket)) continue
        told.add(socket)
        outbound.write(socket, [frame], frame.wire, room.conversationId, true)
      }
    }
  })

  const turn = (isHere: boolean) => (channel: string, payload: string) => {
    const key = participantKey(ParticipantRef.parse(JSON.parse(payload)))
    rolls.turn(conversationOf(channel), key, isHere)
  }
  bus.handle('joined', turn(true))
  bus.handle('left', turn(false))
}

/** Tells the sockets of a room here that somebody (`user:ada`) came or went. */
export function announcePlace(
  { rooms, aggregates }: { rooms: Rooms; aggregates: Aggregates },
  conversationId: string,
  key: string,
  isHere: boolean,
): void {
  const room = rooms.get(conversationId)
  if (!room) return
  if (aggregates.isLarge(room)) {
    aggregates.turn(room, isHere ? 'joined' : 'left', key)
    return
  }
  const { type, id } = parseParticipantKey(key)
  rooms.emit(conversationId, isHere ? 'user:joined' : 'user:left', {
    conversationId,
    participantType: type,
    participantId: id,
    userId: id,
  })
}
