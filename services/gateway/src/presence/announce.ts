import { conversationOfChannel, ParticipantRef, parseParticipantKey, participantKey } from '@parley/contract'
import type { Bus } from '../bus/bus.ts'
import { encodeFrame } from '../connection/frames.ts'
import type { Outbound } from '../connection/outbound.ts'
import type { Rooms } from '../delivery/rooms.ts'
import type { ChatSocket } from '../sockets.ts'
import type { Aggregates } from './aggregates.ts'
import type { Audience } from './audience.ts'
import type { Rosters } from './rosters.ts'
import { type StatusChange, StatusChanges } from './writes.ts'

/** Passes presence changes published by the Lua scripts on to sockets here. */
export function announcePresence({
  bus,
  outbound,
  audience,
  aggregates,
  rosters,
}: {
  bus: Pick<Bus, 'handle'>
  outbound: Outbound
  audience: Audience
  aggregates: Aggregates
  rosters: Pick<Rosters, 'apply'>
}): void {
  function announce({ orgId, type, id, status, at }: StatusChange): void {
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
        aggregates.transition(room, status, key)
        continue
      }
      for (const socket of room.sockets) {
        if (told.has(socket)) continue
        told.add(socket)
        outbound.write(socket, [frame], frame.wire, room.conversationId, true)
      }
    }
  }
  bus.handle('presence', (_channel, payload) => {
    for (const change of StatusChanges.parse(JSON.parse(payload))) announce(change)
  })

  const onTransition = (isPresent: boolean) => (channel: string, payload: string) => {
    const key = participantKey(ParticipantRef.parse(JSON.parse(payload)))
    rosters.apply(conversationOfChannel(channel), key, isPresent)
  }
  bus.handle('joined', onTransition(true))
  bus.handle('left', onTransition(false))
}

/** Tells the sockets of a room here that somebody (`user:ada`) came or went. */
export function announceRoomTransition(
  { rooms, aggregates }: { rooms: Rooms; aggregates: Aggregates },
  conversationId: string,
  key: string,
  isPresent: boolean,
): void {
  const room = rooms.get(conversationId)
  if (!room) return
  if (aggregates.isLarge(room)) {
    aggregates.transition(room, isPresent ? 'joined' : 'left', key)
    return
  }
  const { type, id } = parseParticipantKey(key)
  rooms.emit(conversationId, isPresent ? 'user:joined' : 'user:left', {
    conversationId,
    participantType: type,
    participantId: id,
    userId: id,
  })
}
