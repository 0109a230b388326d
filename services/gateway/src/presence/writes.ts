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
import type { Answers, RemovalAnswer } from './scripts.ts'

/** Milliseconds in which changes are gathered: when many come and go, most commands then serve all of them. */
const GATHER_MS = 10
/** Most changes in one write. Redis does nothing else in the 3 to 6 ms that a script takes for so many (measured). */
export const BATCH_SIZE = 500
/** Milliseconds for which the time that somebody was last seen is kept. */
const SEEN_MS = 30 * 24 * 60 * 60 * 1_000

/** What {@link PRESENCE_CHANNEL} carries under the kind `presence`. */
export const StatusChanges = z.array(
  z.object({
    orgId: z.string(),
    type: ParticipantType,
    id: z.string(),
    status: z.enum(['online', 'offline']),
    at: z.string(),
  }),
)
export type StatusChange = z.infer<typeof StatusChanges>[number]

type Of<K extends Registration['kind']> = Extract<Registration, { kind: K }>
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
/** What the scripts are told of one of them: `flag` is `tell` or `always`. */
interface Change<R = Registration> {
  generation: string
  registration: R
  flag: boolean
}
/** `rest`: members or generations that still hold the same, if they are few; `found`: it was there. */
interface Removed {
  rest: string[]
  found: boolean
}

export type PresenceWrites = ReturnType<typeof createPresenceWrites>

/**
 * Writes and removes the registrations of a gateway generation in Redis, those of a moment by one call of a script. It
 * announces what it finds to be the first entry or the last; whatever failed here only has to be repeated. `redis` has
 * the scripts of presence defined (docs/decisions/0012).
 */
export function createPresenceWrites(redis: Redis, now: () => Date = () => new Date()) {
  const people = createBatches<Of<'person'>>(addPeople, removePeople)
  const rooms = createBatches<Of<'room'>>(enterRooms, leaveRooms)

  function aboutPeople(changes: readonly Change<Of<'person'>>[], status: StatusChange['status']) {
    const at = now()
    const keys = changes.flatMap(({ registration: { orgId, type, id } }) => [
      presenceKey(orgId, type, id),
      seenKey(orgId, type, id),
    ])
    const each = changes.flatMap(({ generation, registration: { orgId, type, id, socket }, flag }) => {
      const told: StatusChange = { orgId, type, id, status, at: at.toISOString() }
      return [`${generation}:${socket}`, JSON.stringify(told), flag ? '1' : '0']
    })
    const kind = busMessage('presence', '')
    return [keys.length, ...keys, PRESENCE_CHANNEL, kind, at.getTime(), SEEN_MS, ...each] as const
  }
  function aboutRooms(changes: readonly Change<Of<'room'>>[], transition: 'joined' | 'left') {
    const keys = changes.map(({ registration: { conversationId, type } }) =>
      roomPresenceKey(conversationId, type),
    )
    const each = changes.flatMap(({ generation, registration: { conversationId, type, id }, flag }) => {
      const told = busMessage(transition, JSON.stringify({ type, id }))
      return [id, generation, roomChannel(conversationId), told, flag ? '1' : '0']
    })
    return [keys.length, ...keys, ...each] as const
  }

  const byGeneration = (changes: readonly Change[]): [key: string, members: string[]][] =>
    [...Map.groupBy(changes, ({ generation }) => generation)].map(([generation, own]) => [
      heldKey(generation),
      own.map(({ registration }) => encodeRegistration(registration)),
    ])
  /** Written before the sets, so that clearing up finds all that is in them. */
  const hold = (changes: readonly Change[]) =>
    Promise.all(byGeneration(changes).map(([key, members]) => redis.sadd(key, ...members)))
  const letGo = (changes: readonly Change[]) =>
    Promise.all(byGeneration(changes).map(([key, members]) => redis.srem(key, ...members)))

  async function addPeople(changes: readonly Change<Of<'person'>>[]): Promise<Answers<number>> {
    inOneWrite(redis)
    const [, answers] = await Promise.all([
      hold(changes),
      redis.presenceAdd(...aboutPeople(changes, 'online')),
      listOnline(changes.map(({ registration }) => registration)),
    ])
    return answers
  }

  async function enterRooms(changes: readonly Change<Of<'room'>>[]): Promise<Answers<number>> {
    inOneWrite(redis)
    const [, answers] = await Promise.all([hold(changes), redis.roomEnter(...aboutRooms(changes, 'joined'))])
    return answers
  }

  async function removePeople(changes: readonly Change<Of<'person'>>[]): Promise<Answers<Removed>> {
    const answers = await redis.presenceRemove(...aboutPeople(changes, 'offline'))
    const last = pick(changes, answers, ([told]) => told === 1)
    inOneWrite(redis)
    await Promise.all([
      letGo(pick(changes, answers)),
      listOffline(last.map(({ registration }) => registration)),
    ])
    return answers.map(removedOf)
  }

  async function leaveRooms(changes: readonly Change<Of<'room'>>[]): Promise<Answers<Removed>> {
    const answers = await redis.roomLeave(...aboutRooms(changes, 'left'))
    await letGo(pick(changes, answers))
    return answers.map(removedOf)
  }

  const byList = (people: readonly Person[]): [key: string, people: Person[]][] => [
    ...Map.groupBy(people, ({ orgId, type }) => onlineKey(orgId, type)),
  ]

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
    add({ generation, registration, tell: flag }: Addition): Promise<unknown> {
      return registration.kind === 'person'
        ? people.add({ generation, registration, flag })
        : rooms.add({ generation, registration, flag })
    },
    /** The same. */
    remove({ generation, registration, always: flag }: Removal): Promise<Removed> {
      return registration.kind === 'person'
        ? people.remove({ generation, registration, flag })
        : rooms.remove({ generation, registration, flag })
    },
  }
}

/** Gathers the additions and the removals of one kind of registration. */
function createBatches<R extends Registration>(
  addAll: (changes: readonly Change<R>[]) => Promise<Answers<number>>,
  removeAll: (changes: readonly Change<R>[]) => Promise<Answers<Removed>>,
) {
  const together = {
    cache: false,
    maxBatchSize: BATCH_SIZE,
    batchScheduleFn: (run: () => void) => void setTimeout(run, GATHER_MS),
  }
  const additions = new DataLoader<Change<R>, number>(addAll, together)
  const removals = new DataLoader<Change<R>, Removed>(removeAll, together)
  return {
    add: (change: Change<R>) => additions.load(change),
    remove: (change: Change<R>) => removals.load(change),
  }
}

const removedOf = (answer: RemovalAnswer | Error): Removed | Error =>
  answer instanceof Error ? answer : { rest: answer[1], found: answer[2] === 1 }

/** Those for whom it went well, and as it says. */
function pick<C>(
  changes: readonly C[],
  answers: Answers<RemovalAnswer>,
  isSo: (answer: RemovalAnswer) => boolean = () => true,
): C[] {
  return changes.filter((_, index) => {
    const answer = answers[index]
    return Array.isArray(answer) && isSo(answer)
  })
}

/** The generation in a member of a person's set. */
export const generationOf = (member: string): string => {
  const colon = member.indexOf(':')
  return colon < 0 ? member : member.slice(0, colon)
}
/** The socket in a member of a person's set. */
export const socketOf = (member: string): string => member.slice(member.indexOf(':') + 1)
