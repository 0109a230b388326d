import {
  heldKey,
  onlineKey,
  PRESENCE_CHANNEL,
  presenceKey,
  roomChannel,
  roomPresenceKey,
  seenKey,
} from '@parley/contract'
import type { Redis } from 'ioredis'
import { busMessage } from '../bus/bus.ts'
import { encodeHolding, type Holding, type Person } from './holding.ts'

/** Seconds for which it is remembered when somebody was last seen. */
const SEEN_SECONDS = 30 * 24 * 60 * 60

export type PresenceStatus = 'online' | 'offline'
/** What {@link PRESENCE_CHANNEL} carries under the kind `presence`. */
export interface Transition extends Person {
  status: PresenceStatus
  at: string
}

export type PresenceWrites = ReturnType<typeof createPresenceWrites>

/**
 * Puts holdings of a gateway generation into Redis and takes them out. Who turns out to be the first or the last
 * is told of by the script that found it; all here only has to be repeated where it failed.
 * `redis` has the scripts of presence defined.
 */
export function createPresenceWrites(redis: Redis, now: () => Date = () => new Date()) {
  const transition = (person: Person, status: PresenceStatus): string => {
    const { orgId, type, id } = person
    const told: Transition = { orgId, type, id, status, at: now().toISOString() }
    return busMessage('presence', JSON.stringify(told))
  }
  const member = (generation: string, socket: string) => `${generation}:${socket}`

  /** Commands of one turn of the event loop go out in one piece: a system call costs more than a command. */
  function gather(): void {
    const { stream } = redis
    if (!stream || stream.writableCorked > 0) return
    stream.cork()
    setImmediate(() => stream.uncork())
  }

  /** The list of who is online follows the sets; where a person came back meanwhile, they are put back. */
  async function listOffline(person: Person): Promise<void> {
    const list = onlineKey(person.orgId, person.type)
    await redis.zrem(list, person.id)
    if ((await redis.scard(presenceKey(person.orgId, person.type, person.id))) > 0) {
      await redis.zadd(list, 0, person.id)
    }
  }
  const seen = (person: Person) =>
    redis.set(seenKey(person.orgId, person.type, person.id), now().toISOString(), 'EX', SEEN_SECONDS)

  return {
    listOffline,

    /** The list of what the generation holds is written first: what is in a set is always found by who clears up. */
    async add(generation: string, holding: Holding, tell: boolean): Promise<void> {
      gather()
      const listed = redis.sadd(heldKey(generation), encodeHolding(holding))
      const flag = tell ? '1' : '0'
      if (holding.kind === 'room') {
        const { conversationId, type, id } = holding
        const entered = redis.roomEnter(
          roomPresenceKey(conversationId, type),
          id,
          generation,
          roomChannel(conversationId),
          busMessage('joined', JSON.stringify({ type, id })),
          flag,
        )
        await Promise.all([listed, entered])
        return
      }
      const { orgId, type, id, socket } = holding
      const added = redis.presenceAdd(
        presenceKey(orgId, type, id),
        member(generation, socket),
        PRESENCE_CHANNEL,
        transition(holding, 'online'),
        flag,
      )
      const [, first] = await Promise.all([listed, added])
      if (first === 0) return
      gather()
      await Promise.all([redis.zadd(onlineKey(orgId, type), 0, id), tell ? seen(holding) : undefined])
    },

    /**
     * @param always tell of an empty set also where the holding was not in it: Redis had lost it
     * `rest`: members or generations that still hold the same, as far as they are few; `found`: it was there.
     */
    async remove(
      generation: string,
      holding: Holding,
      always: boolean,
    ): Promise<{ rest: string[]; found: boolean }> {
      gather()
      const flag = always ? '1' : '0'
      if (holding.kind === 'room') {
        const { conversationId, type, id } = holding
        const [, rest, found] = await redis.roomLeave(
          roomPresenceKey(conversationId, type),
          id,
          generation,
          roomChannel(conversationId),
          busMessage('left', JSON.stringify({ type, id })),
          flag,
        )
        gather()
        await redis.srem(heldKey(generation), encodeHolding(holding))
        return { rest, found: found === 1 }
      }
      const { orgId, type, id, socket } = holding
      const [told, rest, found] = await redis.presenceRemove(
        presenceKey(orgId, type, id),
        member(generation, socket),
        PRESENCE_CHANNEL,
        transition(holding, 'offline'),
        flag,
      )
      gather()
      const unlisted = redis.srem(heldKey(generation), encodeHolding(holding))
      await Promise.all(told === 1 ? [unlisted, listOffline(holding), seen(holding)] : [unlisted])
      return { rest, found: found === 1 }
    },
  }
}

/** The generation in a member of a person's set. */
export const generationOf = (member: string): string => {
  const colon = member.indexOf(':')
  return colon < 0 ? member : member.slice(0, colon)
}
/** The socket in a member of a person's set. */
export const socketOf = (member: string): string => member.slice(member.indexOf(':') + 1)
