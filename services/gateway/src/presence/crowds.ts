import { type Online, participantKey } from '@parley/contract'
import type { Logger } from '@parley/service-kit'
import type { Bus } from '../bus/bus.ts'
import type { Room } from '../delivery/rooms.ts'
import type { Lifecycle } from '../lifecycle.ts'
import { LARGE_ROOM } from './aggregates.ts'

export type Crowds = ReturnType<typeof createCrowds>

/**
 * How many people are in a room, on all gateways: read as it opens here, then as all gateways are told of who comes and
 * goes. Kept of rooms alone that so many may be in; while Redis is away, or a moment later, it may be out by some.
 */
export function createCrowds({
  bus,
  lifecycle,
  inRoom,
  logger,
}: {
  bus: Pick<Bus, 'onRestored'>
  lifecycle: Lifecycle
  inRoom(conversationId: string): Promise<Online>
  logger: Logger
}) {
  const crowds = new Map<Room, Set<string>>()

  async function read(room: Room): Promise<void> {
    const crowd = new Set<string>()
    crowds.set(room, crowd)
    try {
      const { users, agents } = await inRoom(room.conversationId)
      for (const id of users) crowd.add(participantKey({ type: 'user', id }))
      for (const id of agents) crowd.add(participantKey({ type: 'agent', id }))
    } catch (error) {
      logger.debug({ error }, 'who is in a room is read again once Redis is back')
    }
  }

  function look(room: Room): void {
    if (room.members.size <= LARGE_ROOM) crowds.delete(room)
    else if (!crowds.has(room)) void read(room)
  }
  lifecycle.on('roomOpened', look)
  lifecycle.on('membersChanged', look)
  lifecycle.on('roomClosed', (room) => crowds.delete(room))
  bus.onRestored(() => {
    for (const room of [...crowds.keys()]) void read(room)
  })

  return {
    /** 0 where nobody has counted. */
    size: (room: Room): number => crowds.get(room)?.size ?? 0,
    came: (room: Room, key: string): void => void crowds.get(room)?.add(key),
    went: (room: Room, key: string): void => void crowds.get(room)?.delete(key),
  }
}
