import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'
import type { Bed } from '../faults/bed.ts'
import { createBareMember } from '../support/bare-member.ts'
import type { Http } from '../support/http.ts'
import { type Delivered, deliveryFaults, type Member, storageFaults } from '../support/member.ts'
import { rotated } from '../support/rotated.ts'
import { comesTrue } from '../support/until.ts'

/** One step of a sequence; `rest`: milliseconds before the next one is begun. */
export type Action = { rest: number } & (
  | { do: 'join' | 'leave'; who: number }
  | { do: 'send'; who: number; way: 'socket' | 'rest'; keyed: boolean; count: number }
  | { do: 'delete'; which: number }
  | { do: 'kill' | 'pause'; name: string; down: number }
  | { do: 'wipe' | 'empty' }
)

interface Person {
  name: string
  member: Member
  /** Over the socket, once and without a key, as far as the client can. */
  sendOnce?(content: string): Promise<Delivered | null>
  http: Http
  inside: boolean
}

interface Stored extends Delivered {
  content: string
  deletedAt: string | null
}

export interface World {
  bed: Bed
  id: string
  people: Person[]
  /** Each with the message once it is acknowledged; null if nobody knows whether it is stored. */
  sends: Promise<Delivered | null>[]
  acked: Delivered[]
  /** Contents of messages without an answer. */
  unknown: Set<string>
  /** Ids of the messages whose deletion was acknowledged. */
  erased: Set<string>
  faults: string[]
  /** Steps that were begun. */
  did: number
  /** What was begun and is not known to have ended. */
  running: Promise<void>[]
  /** By person or process: the end of what was begun for it last. */
  turns: Map<string, Promise<void>>
  close(): Promise<void>
}

/** Longer than anything takes on a busy machine, shorter than a test's own timeout. */
const TIMEOUT_MS = 30_000
/** Of the people; the last one is not in the room at first. */
export const KINDS = ['sdk', 'websocket', 'polling', 'upgrade', 'late'] as const
let worlds = 0

/**
 * A new conversation of five, spread over the gateways: four in the room by the SDK, a bare websocket, bare polling,
 * and polling that becomes a websocket; the fifth not yet.
 */
export async function openWorld(bed: Bed): Promise<World> {
  const prefix = `world${++worlds}`
  const nameOf = (kind: string) => `${prefix}-${kind}`
  const id = await bed.conversation(KINDS.map(nameOf))
  const people = KINDS.map((kind, index): Person => {
    const name = nameOf(kind)
    const [http, kept] = [bed.http(name), { name, inside: false }]
    if (kind === 'sdk') return { ...kept, http, member: bed.member('sdk', name, id, index) }
    const member = createBareMember({
      name,
      conversationId: id,
      apiUrls: bed.apiUrls,
      gatewayUrls: rotated(bed.gatewayUrls, index),
      token: bed.token(name),
      transport: kind === 'late' ? 'websocket' : kind,
    })
    return { ...kept, http, member, sendOnce: member.sendOnce }
  })
  const world: World = {
    bed,
    id,
    people,
    sends: [],
    acked: [],
    unknown: new Set(),
    erased: new Set(),
    faults: [],
    did: 0,
    running: [],
    turns: new Map(),
    async close() {
      for (const { member } of people) member.close()
      // Nothing stays stopped or dead for the next run.
      await Promise.all(world.running)
    },
  }
  for (const person of people.slice(0, -1)) enter(world, person)
  return world
}

/** Begins a step and rests; what it does goes on meanwhile. */
export async function act(world: World, action: Action): Promise<void> {
  world.did += 1
  begin(world, action)
  await delay(action.rest)
}

function begin(world: World, action: Action): void {
  const { bed, people } = world
  const { stack } = bed
  if (action.do === 'join' || action.do === 'leave') {
    const person = people[action.who]
    if (!person) throw new Error(`There is no person ${action.who}`)
    if (action.do === 'join') enter(world, person)
    else {
      person.inside = false
      inTurn(world, person.name, 'leave', () => person.member.leave())
    }
  } else if (action.do === 'send') {
    const person = people[action.who]
    if (!person) throw new Error(`There is no person ${action.who}`)
    for (let i = 0; i < action.count; i++) say(world, person, action)
  } else if (action.do === 'delete') {
    const chosen = world.sends[action.which % world.sends.length]
    if (chosen) track(world, 'delete', erase(world, chosen))
  } else if (action.do === 'kill') {
    inTurn(world, action.name, 'kill', async () => {
      await stack.kill(action.name)
      await delay(action.down)
      await stack.start(action.name)
    })
  } else if (action.do === 'pause') {
    inTurn(world, action.name, 'pause', async () => {
      stack.pause(action.name)
      try {
        await delay(action.down)
      } finally {
        stack.resume(action.name)
      }
    })
  } else if (action.do === 'wipe') inTurn(world, 'redis-0', 'wipe', () => wipe(stack.redisUrl))
  else {
    inTurn(world, 'redis-0', 'empty', async () => {
      await stack.kill('redis-0')
      await stack.start('redis-0')
    })
  }
}

/** Notes how it ends, and never rejects: all faults are told together. */
function track(world: World, what: string, work: Promise<unknown>): Promise<void> {
  const tracked = work.then(
    () => undefined,
    (error: unknown) => {
      world.faults.push(`${what}: ${error}`)
    },
  )
  world.running.push(tracked)
  return tracked
}

/** After all that was begun before for the same person or process. */
function inTurn(world: World, key: string, what: string, work: () => Promise<void>): void {
  const before = world.turns.get(key) ?? Promise.resolve()
  world.turns.set(key, track(world, `${what} of ${key}`, before.then(work)))
}

function enter(world: World, person: Person): void {
  person.inside = true
  inTurn(world, person.name, 'join', () => patiently(person.member.join()))
}

/** A message no later than it can be: with a key until it is acknowledged, else once. */
function say(world: World, person: Person, { way, keyed }: { way: 'socket' | 'rest'; keyed: boolean }): void {
  const number = world.sends.length
  const content = `Line ${number} of ${person.name}`
  const body = { conversationId: world.id, role: 'user', content }
  const key = `${person.name}-${number}`
  const once = async (): Promise<Delivered | null> => {
    if (way === 'socket' && person.sendOnce) return person.sendOnce(content)
    const answer = await person.http.once<Delivered>('POST', '/messages', body).catch(() => null)
    if (answer === null || answer.status >= 500) return null
    if (answer.status !== 201) throw new Error(`answered with ${answer.status}`)
    return answer.body
  }
  const surely = async (): Promise<Delivered> =>
    way === 'socket'
      ? person.member.send(content, key)
      : person.http.sure<Delivered>('POST', '/messages', { ...body, clientMessageId: key }, TIMEOUT_MS)
  // The SDK has no way to send without a key over the socket.
  const isOnce = !keyed && (way === 'rest' || person.sendOnce !== undefined)
  const sent = patiently<Delivered | null>(isOnce ? once() : surely()).then((message) => {
    if (message) world.acked.push(message)
    else world.unknown.add(content)
    return message
  })
  world.sends.push(sent)
  track(world, `send of ${key}`, sent)
}

async function erase(world: World, chosen: Promise<Delivered | null>): Promise<void> {
  // A send that failed has said so itself.
  const message = await chosen.catch(() => null)
  if (!message) return
  await world.people[0]?.http.sure('DELETE', `/messages/${message.id}`, undefined, TIMEOUT_MS)
  world.erased.add(message.id)
}

async function wipe(url: string): Promise<void> {
  const redis = new Redis(url, { maxRetriesPerRequest: 3 })
  redis.on('error', () => undefined)
  try {
    await redis.flushall()
  } finally {
    redis.disconnect()
  }
}

async function patiently<T>(work: Promise<T>): Promise<T> {
  const over = Promise.withResolvers<never>()
  const timer = setTimeout(() => over.reject(new Error(`not done after ${TIMEOUT_MS} ms`)), TIMEOUT_MS)
  return Promise.race([work, over.promise]).finally(() => clearTimeout(timer))
}

/** Waits until all that was begun has ended and everybody has all; what is not as the model says. */
export async function settle(world: World): Promise<{ faults: string[]; resyncs: number }> {
  const { people, acked, erased, unknown, faults } = world
  await Promise.all(world.running)
  const [owner] = people
  if (!owner) throw new Error('Nobody is there')
  // Whoever is in the room gets this last, in order: what is repeated or late shows before it, or never.
  say(world, owner, { way: 'rest', keyed: true })
  await Promise.all(world.running)

  const stored = await allStored(world, owner)
  const inside = people.filter(({ inside }) => inside)
  const last = stored.at(-1)?.seq ?? 0
  const complete = ({ member }: Person) =>
    (member.log.at(-1)?.seq ?? 0) >= last && [...erased].every((id) => member.deleted.has(id))
  await comesTrue(() => inside.every(complete), TIMEOUT_MS)

  faults.push(...storageFaults(stored, acked))
  const ackedIds = new Set(acked.map(({ id }) => id))
  const contents = new Set<string>()
  for (const { id, seq, content, deletedAt } of stored) {
    if (erased.has(id) !== (deletedAt !== null)) faults.push(`stored: ${seq} deleted: ${deletedAt}`)
    if (deletedAt !== null) continue
    if (contents.has(content)) faults.push(`stored: "${content}" twice`)
    contents.add(content)
    if (!ackedIds.has(id) && !unknown.has(content)) faults.push(`stored: ${seq}, which nobody sent`)
  }
  for (const { member, inside, name } of people) {
    if (inside) {
      faults.push(...deliveryFaults(member, stored))
      const missed = [...erased].filter((id) => !member.deleted.has(id))
      if (missed.length > 0) faults.push(`${name}: ${missed.length} deletes unseen`)
    } else {
      // It has all up to where it left, and not what was said when it was out.
      const left = member.log.at(-1)?.seq ?? 0
      faults.push(
        ...deliveryFaults(
          member,
          stored.filter(({ seq }) => seq <= left),
        ),
      )
      if (left >= last) faults.push(`${name}: got ${last}, but is out`)
    }
    const unfounded = [...member.deleted].filter((id) => !erased.has(id))
    if (unfounded.length > 0) faults.push(`${name}: ${unfounded.length} deletes of what is not deleted`)
  }
  return { faults, resyncs: people.reduce((sum, { member }) => sum + member.resyncs, 0) }
}

async function allStored({ id }: World, { http }: Person): Promise<Stored[]> {
  const all: Stored[] = []
  for (;;) {
    const path = `/messages/conversation/${id}?after=${all.at(-1)?.seq ?? 0}&limit=100`
    const { data, page } = await http.sure<{ data: Stored[]; page: { hasMore: boolean } }>('GET', path)
    all.push(...data)
    if (!page.hasMore || data.length === 0) return all
  }
}
