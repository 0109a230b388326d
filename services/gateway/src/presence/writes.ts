import {
  heldKey,
  onlineKey,
  ParticipantType,
  PRESENCE_CHANNEL,
  presenceKey,
  roomChannel,
  roomPresenceKey,
  seenKey,
} from '@parley/contract'
import DataLoader from 'dataloader'
import type { Redis } from 'ioredis'
import { z } from 'zod'
import { busMessage } from '../bus/bus.ts'
import { inOneWrite } from './one-write.ts'
import { encodeRegistration, type Person, type Registration } from './registration.ts'

/** Milliseconds in which changes are gathered: when many come and go, most commands then serve all of them. */
const GATHER_MS = 10
/** Most changes in one write: few enough that it holds up nothing else. */
export const BATCH_SIZE = 500
/** Milliseconds for which the time that somebody was last seen is kept. */
const SEEN_MS = 30 * 24 * 60 * 60 * 1_000

/** What {@link PRESENCE_CHANNEL} carries under the kind `presence`. */
export const StatusChange = z.object({
  orgId: z.string(),
  type: ParticipantType,
  id: z.string(),
  status: z.enum(['online', 'offline']),
  at: z.string(),
})
export type StatusChange = z.infer<typeof StatusChange>

interface Addition {
  generation: string
  registration: Registration
  /** Announce an entry that turns out to be the first. */
  tell: boolean
}
interface Removal {
  generation: string
  registration: Registration
  /** Announce an empty set even if the registration was not in it: Redis had lost it. */
  always: boolean
}
/** `rest`: members or generations that still hold the same, if they are few; `found`: it was there. */
interface Removed {
  rest: string[]
  found: boolean
}

export type PresenceWrites = ReturnType<typeof createPresenceWrites>

/**
 * Writes and removes the registrations of a gateway generation in Redis. The script that finds an entry to be the first
 * or the last announces it; whatever failed here only has to be repeated. `redis` has the scripts of presence defined.
 */
export function createPresenceWrites(redis: Redis, now: () => Date = () => new Date()) {
  const together = {
    cache: false,
    maxBatchSize: BATCH_SIZE,
    batchScheduleFn: (run: () => void) => void setTimeout(run, GATHER_MS),
  }
  const additions = new DataLoader<Addition, void>(addAll, together)
  const removals = new DataLoader<Removal, Removed>(removeAll, together)

  const byGeneration = (items: readonly (Addition | Removal)[]): [key: string, members: string[]][] =>
    [...Map.groupBy(items, ({ generation }) => generation)].map(([generation, own]) => [
      heldKey(generation),
      own.map(({ registration }) => encodeRegistration(registration)),
    ])
  const byList = (people: readonly Person[]): [key: string, people: Person[]][] => [
    ...Map.groupBy(people, ({ orgId, type }) => onlineKey(orgId, type)),
  ]

  type Of<K extends Registration['kind']> = Extract<Registration, { kind: K }>
  const aboutPerson = (generation: string, registration: Of<'person'>, status: StatusChange['status']) => {
    const { orgId, type, id, socket } = registration
    const at = now()
    const told: StatusChange = { orgId, type, id, status, at: at.toISOString() }
    return [
      presenceKey(orgId, type, id),
      seenKey(orgId, type, id),
      `${generation}:${socket}`,
      PRESENCE_CHANNEL,
      busMessage('presence', JSON.stringify(told)),
      at.getTime(),
      SEEN_MS,
    ] as const
  }
  const aboutRoom = (generation: string, registration: Of<'room'>, transition: 'joined' | 'left') => {
    const { conversationId, type, id } = registration
    const told = busMessage(transition, JSON.stringify({ type, id }))
    return [roomPresenceKey(conversationId, type), id, generation, roomChannel(conversationId), told] as const
  }

  function enter({ generation, registration, tell }: Addition): Promise<unknown> {
    const flag = tell ? '1' : '0'
    return registration.kind === 'person'
      ? redis.presenceAdd(...aboutPerson(generation, registration, 'online'), flag)
      : redis.roomEnter(...aboutRoom(generation, registration, 'joined'), flag)
  }

  function leave({ generation, registration, always }: Removal): Promise<[number, string[], number]> {
    const flag = always ? '1' : '0'
    return registration.kind === 'person'
      ? redis.presenceRemove(...aboutPerson(generation, registration, 'offline'), flag)
      : redis.roomLeave(...aboutRoom(generation, registration, 'left'), flag)
  }

  /**
   * The list of what the generation holds is written before the sets, so that clearing up finds all that is in them.
   */
  async function addAll(wanted: readonly Addition[]): Promise<(Error | undefined)[]> {
    inOneWrite(redis)
    const people = wanted.flatMap(({ registration }) =>
      registration.kind === 'person' ? [registration] : [],
    )
    const listed = Promise.all(byGeneration(wanted).map(([key, members]) => redis.sadd(key, ...members)))
    const [outcomes] = await Promise.all([Promise.allSettled(wanted.map(enter)), listed, listOnline(people)])
    return outcomes.map(errorOf)
  }

  async function removeAll(unwanted: readonly Removal[]): Promise<(Error | Removed)[]> {
    inOneWrite(redis)
    const outcomes = await Promise.allSettled(unwanted.map(leave))
    const gone = unwanted.filter((_, index) => outcomes[index]?.status === 'fulfilled')
    const last = unwanted.flatMap(({ registration }, index) => {
      const outcome = outcomes[index]
      const isTold = outcome?.status === 'fulfilled' && outcome.value[0] === 1
      return isTold && registration.kind === 'person' ? [registration] : []
    })
    inOneWrite(redis)
    await Promise.all([
      ...byGeneration(gone).map(([key, members]) => redis.srem(key, ...members)),
      listOffline(last),
    ])
    return outcomes.map((outcome) => {
      if (outcome.status === 'rejected') return errorOf(outcome) ?? new Error('not removed')
      const [, rest, found] = outcome.value
      return { rest, found: found === 1 }
    })
  }

  async function listOnline(people: readonly Person[]): Promise<void> {
    await Promise.all(
      byList(people).map(([key, own]) => redis.zadd(key, ...own.flatMap(({ id }) => [0, id]))),
    )
  }

  /** The list of who is online follows the sets; a person who came back meanwhile is put back. */
  async function listOffline(people: readonly Person[]): Promise<void> {
    const removed = byList(people).map(([key, own]) => redis.zrem(key, ...own.map(({ id }) => id)))
    const left = people.map(({ orgId, type, id }) => redis.scard(presenceKey(orgId, type, id)))
    const [counts] = await Promise.all([Promise.all(left), ...removed])
    await listOnline(people.filter((_, index) => (counts[index] ?? 0) > 0))
  }

  return {
    listOffline,
    /** Rejects if Redis is away; to be repeated then. */
    add: (addition: Addition): Promise<void> => additions.load(addition),
    /** The same. */
    remove: (removal: Removal): Promise<Removed> => removals.load(removal),
  }
}

function errorOf(outcome: PromiseSettledResult<unknown>): Error | undefined {
  if (outcome.status === 'fulfilled') return undefined
  return outcome.reason instanceof Error ? outcome.reason : new Error('failed', { cause: outcome.reason })
}

/** The generation in a member of a person's set. */
export const generationOf = (member: string): string => {
  const colon = member.indexOf(':')
  return colon < 0 ? member : member.slice(0, colon)
}
/** The socket in a member of a person's set. */
export const socketOf = (member: string): string => member.slice(member.indexOf(':') + 1)
