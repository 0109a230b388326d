import { ParticipantRef, ParticipantType, participantKey } from '@parley/contract'
import { z } from 'zod'
import type { Bus } from '../bus/bus.ts'
import { conversationOf } from '../bus/room-channels.ts'
import type { Outbound } from '../connection/outbound.ts'
import { encodeFrame } from '../delivery/frames.ts'
import type { Rooms } from '../delivery/rooms.ts'
import type { ChatSocket } from '../sockets.ts'
import type { Aggregates } from './aggregates.ts'
import type { Audience } from './audience.ts'
import type { Crowds } from './crowds.ts'

const Told = z.object({
  orgId: z.string(),
  type: ParticipantType,
  id: z.string(),
  status: z.enum(['online', 'offline']),
  at: z.string(),
})

/** Passes on to sockets here what the presence scripts tell all gateways. */
export function announcePresence({
  bus,
  rooms,
  outbound,
  audience,
  aggregates,
  crowds,
}: {
  bus: Bus
  rooms: Rooms
  outbound: Outbound
  audience: Audience
  aggregates: Aggregates
  crowds: Crowds
}): void {
  bus.handle('presence', (_channel, payload) => {
    const { orgId, type, id, status, at } = Told.parse(JSON.parse(payload))
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

  const place = (turn: 'joined' | 'left') => (channel: string, payload: string) => {
    const { type, id } = ParticipantRef.parse(JSON.parse(payload))
    const room = rooms.get(conversationOf(channel))
    if (!room) return
    const key = participantKey({ type, id })
    // Who comes or goes is one of those that make a room large.
    if (turn === 'joined') crowds.came(room, key)
    const isLarge = aggregates.isLarge(room)
    if (turn === 'left') crowds.went(room, key)
    if (isLarge) {
      aggregates.turn(room, turn, key)
      return
    }
    rooms.emit(room.conversationId, turn === 'joined' ? 'user:joined' : 'user:left', {
      conversationId: room.conversationId,
      participantType: type,
      participantId: id,
      userId: id,
    })
  }
  bus.handle('joined', place('joined'))
  bus.handle('left', place('left'))
}
