import type { ParticipantRole } from '@parley/contract'
import { LRUCache } from 'lru-cache'
import type { Collection, ObjectId } from 'mongodb'
import type { ParticipantDocument } from '../database/collections.ts'

/** Most roles kept; the least recently used go first. */
const CAPACITY = 100_000

export interface WantedRole {
  cid: ObjectId
  membersRev: ObjectId
  key: string
}

export type Roles = ReturnType<typeof createRoles>

/**
 * Participants' roles, remembered under the conversation's `membersRev`: a change of participants makes a new one, so
 * nothing here is ever out of date, only no longer asked for.
 */
export function createRoles({
  participants,
  capacity = CAPACITY,
}: {
  participants: Collection<ParticipantDocument>
  capacity?: number
}) {
  const cache = new LRUCache<string, ParticipantRole>({ max: capacity })
  const slot = (membersRev: ObjectId, key: string): string => `${membersRev.toHexString()}${key}`

  function keep(membersRev: ObjectId, key: string, role: ParticipantRole): void {
    cache.set(slot(membersRev, key), role)
  }

  return {
    /** The role; undefined: they take no part, or it has not been read. Who takes no part is looked up each time. */
    known: (membersRev: ObjectId, key: string): ParticipantRole | undefined =>
      cache.get(slot(membersRev, key)),

    /** Keeps a role from a majority read that was made after `membersRev` was read. */
    keep,

    /**
     * Reads all of these in one query. Each `membersRev` must have been read before: rows are then at least as new, and
     * a role that has changed since is kept under a revision that is soon obsolete.
     */
    async load(wanted: readonly WantedRole[]): Promise<void> {
      if (wanted.length === 0) return
      const keysOf = new Map<string, { cid: ObjectId; keys: Set<string> }>()
      for (const { cid, key } of wanted) {
        const id = cid.toHexString()
        const entry = keysOf.get(id) ?? { cid, keys: new Set<string>() }
        entry.keys.add(key)
        keysOf.set(id, entry)
      }
      const branches = [...keysOf.values()].map(({ cid, keys }) => ({ cid, key: { $in: [...keys] } }))
      const [only, ...more] = branches
      const rows = await participants
        .find(more.length === 0 && only ? only : { $or: branches }, {
          projection: { _id: 0, cid: 1, key: 1, role: 1 },
        })
        .toArray()
      const found = new Map(rows.map(({ cid, key, role }) => [`${cid.toHexString()}${key}`, role]))
      for (const { cid, membersRev, key } of wanted) {
        const role = found.get(`${cid.toHexString()}${key}`)
        if (role) keep(membersRev, key, role)
      }
    },
  }
}
