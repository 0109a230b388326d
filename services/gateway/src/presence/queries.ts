import {
  onlineKey,
  type ParticipantType,
  type Presence,
  participantKey,
  presenceKey,
  roomPresenceKey,
  seenKey,
} from '@parley/contract'
import type { Redis } from 'ioredis'
import type { Leases } from './leases.ts'
import { inOneWrite } from './one-write.ts'
import type { Person } from './registration.ts'
import { generationOf, type PresenceWrites } from './writes.ts'

/**
 * Reads what all gateways hold. What a dead gateway held counts until it is cleared away and announced: nothing is
 * announced for somebody who comes back before that, so a reader that had left them out would never hear of them.
 * Entries of a generation without any lease do not count. All reject while Redis is away.
 */
export function createPresenceQueries({
  redis,
  leases,
  writes,
}: {
  redis: Redis
  leases: Leases
  writes: PresenceWrites
}) {
  async function isOnline(person: Person): Promise<boolean> {
    const members = await redis.smembers(presenceKey(person.orgId, person.type, person.id))
    if (members.length === 0) return false
    return (await leases.uncleared(members.map(generationOf))).size > 0
  }

  async function keysInRoom(conversationId: string, type: ParticipantType): Promise<string[]> {
    const held = Object.entries(await redis.hgetall(roomPresenceKey(conversationId, type)))
    const generations = new Map(held.map(([id, text]) => [id, text.split(' ')]))
    const uncleared = await leases.uncleared([...generations.values()].flat())
    return [...generations].flatMap(([id, of]) =>
      of.some((one) => uncleared.has(one)) ? [participantKey({ type, id })] : [],
    )
  }

  return {
    /** Keys (`user:ada`) of those who have a socket in the room. */
    async inRoom(conversationId: string): Promise<string[]> {
      inOneWrite(redis)
      const [users, agents] = await Promise.all([
        keysInRoom(conversationId, 'user'),
        keysInRoom(conversationId, 'agent'),
      ])
      return [...users, ...agents]
    },

    /** `at`: when they were last seen to come or go; null if that is no longer known. */
    async status(person: Person): Promise<Presence> {
      const { orgId, type, id } = person
      const [online, seen] = await Promise.all([isOnline(person), redis.get(seenKey(orgId, type, id))])
      const at = seen === null ? null : new Date(Number(seen)).toISOString()
      return { type, id, status: online ? 'online' : 'offline', at }
    },

    /** Ids that are online, in byte order, after `after`; at most `limit`. */
    async list(orgId: string, type: ParticipantType, after: string | null, limit: number) {
      const key = onlineKey(orgId, type)
      const ids: string[] = []
      let from = after
      for (;;) {
        const wanted = limit + 1 - ids.length
        const min = from === null ? '-' : `(${from}`
        const found = await redis.zrange(key, min, '+', 'BYLEX', 'LIMIT', 0, wanted)
        const checked = await Promise.all(
          found.map(async (id) => ({ id, online: await isOnline({ orgId, type, id }) })),
        )
        for (const { id, online } of checked) {
          if (online) ids.push(id)
        }
        await writes.listOffline(checked.flatMap(({ id, online }) => (online ? [] : [{ orgId, type, id }])))
        from = found.at(-1) ?? from
        if (found.length < wanted || ids.length > limit) break
      }
      return { ids: ids.slice(0, limit), hasMore: ids.length > limit }
    },
  }
}
