import {
  type ParticipantRef,
  parseParticipantKey,
  participantKey,
  type Receipt,
  type ServerPayload,
} from '@parley/contract'
import type { Room, Rooms } from '../delivery/rooms.ts'
import type { Lifecycle } from '../lifecycle.ts'

/**
 * With more sockets here than this, or more people on all gateways, a room gets comings, goings and receipts together.
 * Counted only here, a room spread over many gateways would be small on each, and every receipt would go to everybody.
 */
const LARGE_ROOM = 100
const AGGREGATE_MS = 1_000

type Transition = 'joined' | 'left' | 'online' | 'offline'
const OPPOSITE: Record<Transition, Transition> = {
  joined: 'left',
  left: 'joined',
  online: 'offline',
  offline: 'online',
}

interface Pending {
  receipts: Map<string, Receipt>
  transitions: Record<Transition, Set<string>>
}

export type Aggregates = ReturnType<typeof createAggregates>

/** For a large room, one `room:aggregate` a second instead of an event whenever somebody comes, goes or reads. */
export function createAggregates({
  rooms,
  lifecycle,
  peopleIn,
}: {
  rooms: Rooms
  lifecycle: Lifecycle
  peopleIn(room: Room): number
}) {
  const pending = new Map<string, Pending>()
  let timer: NodeJS.Timeout | undefined
  // A closed room needs no pending aggregate: whoever opens it again gets the full list with the join.
  lifecycle.on('roomClosed', ({ conversationId }) => pending.delete(conversationId))

  function of(room: Room): Pending {
    let found = pending.get(room.conversationId)
    if (!found) {
      found = {
        receipts: new Map(),
        transitions: { joined: new Set(), left: new Set(), online: new Set(), offline: new Set() },
      }
      pending.set(room.conversationId, found)
      timer ??= setTimeout(flush, AGGREGATE_MS)
    }
    return found
  }

  function flush(): void {
    timer = undefined
    const batch = [...pending]
    pending.clear()
    for (const [conversationId, { receipts, transitions }] of batch) {
      const refs = (keys: Set<string>): ParticipantRef[] => [...keys].map(parseParticipantKey)
      const payload: ServerPayload<'room:aggregate'> = {
        conversationId,
        receipts: [...receipts.values()],
        joined: refs(transitions.joined),
        left: refs(transitions.left),
        online: refs(transitions.online),
        offline: refs(transitions.offline),
      }
      const empty = Object.values(payload).every((value) => typeof value === 'string' || value.length === 0)
      if (!empty) rooms.emit(conversationId, 'room:aggregate', payload)
    }
  }

  return {
    /** A room stays large while an aggregate waits, which later events must not overtake. */
    isLarge: (room: Room): boolean =>
      room.sockets.size > LARGE_ROOM || peopleIn(room) > LARGE_ROOM || pending.has(room.conversationId),
    receipt(room: Room, receipt: Receipt): void {
      const { participantType: type, participantId: id } = receipt
      of(room).receipts.set(participantKey({ type, id }), receipt)
    },
    /**
     * Only a person's last transition is kept, even if it undoes an earlier one: a socket that joined in between may
     * have seen either.
     */
    transition(room: Room, transition: Transition, key: string): void {
      const { transitions } = of(room)
      transitions[OPPOSITE[transition]].delete(key)
      transitions[transition].add(key)
    },
    close(): void {
      clearTimeout(timer)
    },
  }
}
