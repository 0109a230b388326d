import type { Room } from '../delivery/rooms.ts'
import type { Lifecycle } from '../lifecycle.ts'

const NONE: ReadonlySet<Room> = new Set()

export type Audience = ReturnType<typeof createAudience>

/** The rooms of this gateway by participant: where it matters that somebody comes or goes. */
export function createAudience(lifecycle: Lifecycle) {
  const rooms = new Map<string, Set<Room>>()
  const known = new Map<Room, Set<string>>()
  const name = (orgId: string, key: string) => `${orgId}\n${key}`

  function add(room: Room, key: string): void {
    const of = name(room.orgId, key)
    const set = rooms.get(of)
    if (set) set.add(room)
    else rooms.set(of, new Set([room]))
  }
  function remove(room: Room, key: string): void {
    const of = name(room.orgId, key)
    const set = rooms.get(of)
    if (set?.delete(room) && set.size === 0) rooms.delete(of)
  }
  function update(room: Room, participants: ReadonlySet<string>): void {
    const before = known.get(room) ?? new Set<string>()
    for (const key of before) if (!participants.has(key)) remove(room, key)
    for (const key of participants) if (!before.has(key)) add(room, key)
    if (participants.size > 0) known.set(room, new Set(participants))
    else known.delete(room)
  }

  lifecycle.on('roomOpened', (room) => update(room, room.participants))
  lifecycle.on('participantsChanged', (room) => update(room, room.participants))
  lifecycle.on('roomClosed', (room) => update(room, new Set()))

  return {
    /** Rooms here in which this participant (`user:ada`) takes part. */
    of: (orgId: string, key: string): ReadonlySet<Room> => rooms.get(name(orgId, key)) ?? NONE,
  }
}
