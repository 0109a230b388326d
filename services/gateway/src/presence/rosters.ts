import { type Online, roomChannel } from '@parley/contract'
import type { Logger } from '@parley/service-kit'
import type { Bus } from '../bus/bus.ts'
import type { Lifecycle } from '../lifecycle.ts'

/** Rooms checked at a time. */
const BATCH_SIZE = 200

/** Who is in a room, kept up to date until it is closed. */
export interface RosterView {
  now(): Online
  /** The same for `joining` (`user:ada`), who is there from now on and is told of changes. */
  join(joining: string): Online
  close(): void
}

interface Reading {
  /** null: Redis did not answer. */
  found: Promise<string[] | null>
  /** Comings and goings told to all gateways since it began, in order. */
  transitions: [key: string, isPresent: boolean][]
  views: number
}

export type Rosters = ReturnType<typeof createRosters>

/**
 * Each open room's roster: the people its sockets were told are present. A joiner gets the roster, then the same
 * updates as everyone. The first join reads it from Redis; updates that arrive during the read are replayed on it.
 * After a broken subscription, or a loss of Redis's data, the roster is compared with Redis and the room is told the
 * difference.
 */
export function createRosters({
  bus,
  lifecycle,
  read,
  here,
  tell,
  settleMs,
  logger,
}: {
  bus: Pick<Bus, 'hold' | 'release' | 'onRestored'>
  lifecycle: Lifecycle
  /** Rejects while Redis is away. */
  read(conversationId: string): Promise<string[]>
  /** Those with a socket in the room on this gateway: they are there, whatever Redis says. */
  here(conversationId: string): Iterable<string>
  /** Tells the sockets here. */
  tell(conversationId: string, key: string, isPresent: boolean): void
  /** Milliseconds after a break within which every gateway has written its people to Redis again. */
  settleMs: number
  logger: Logger
}) {
  const rosters = new Map<string, Set<string>>()
  /** By conversation, readings still in use. */
  const open = new Map<string, Set<Reading>>()
  /** The one of them that has no answer yet. */
  const pending = new Map<string, Reading>()
  let timer: NodeJS.Timeout | undefined
  let closed = false
  lifecycle.on('roomClosed', ({ conversationId }) => rosters.delete(conversationId))

  function apply(conversationId: string, key: string, isPresent: boolean): void {
    for (const { transitions } of open.get(conversationId) ?? []) transitions.push([key, isPresent])
    const roster = rosters.get(conversationId)
    if (!roster) return
    // The person counts while we decide whether the room is large: added before a join is told, removed after a leave.
    if (isPresent) roster.add(key)
    tell(conversationId, key, isPresent)
    if (!isPresent) roster.delete(key)
  }

  function begin(conversationId: string): Reading {
    // Heard first, read then.
    const found = bus
      .hold(roomChannel(conversationId))
      .then(() => read(conversationId))
      .catch((error: unknown) => {
        logger.debug({ err: error }, 'a room’s roster shows this gateway alone')
        return null
      })
      .finally(() => pending.delete(conversationId))
    const reading: Reading = { found, transitions: [], views: 0 }
    pending.set(conversationId, reading)
    const readings = open.get(conversationId)
    if (readings) readings.add(reading)
    else open.set(conversationId, new Set([reading]))
    return reading
  }

  function end(conversationId: string, reading: Reading): void {
    reading.views -= 1
    if (reading.views > 0) return
    bus.release(roomChannel(conversationId))
    const readings = open.get(conversationId)
    if (readings?.delete(reading) && readings.size === 0) open.delete(conversationId)
  }

  /** `now()`: null where Redis did not answer. */
  async function consult(conversationId: string) {
    const reading = pending.get(conversationId) ?? begin(conversationId)
    reading.views += 1
    const found = await reading.found
    return {
      now(): Set<string> | null {
        if (!found) return null
        const keys = new Set(found)
        for (const [key, isPresent] of reading.transitions) setPresent(keys, key, isPresent)
        return keys
      },
      close: () => end(conversationId, reading),
    }
  }

  /** Tells a room the changes it missed. Resolves to whether Redis answered. */
  async function check(conversationId: string): Promise<boolean> {
    const { now, close } = await consult(conversationId)
    try {
      const [there, roster] = [now(), rosters.get(conversationId)]
      if (!there || !roster) return there !== null
      for (const key of here(conversationId)) there.add(key)
      for (const key of there) if (!roster.has(key)) apply(conversationId, key, true)
      for (const key of [...roster]) if (!there.has(key)) apply(conversationId, key, false)
      return true
    } finally {
      close()
    }
  }

  async function checkAll(): Promise<void> {
    const all = [...rosters.keys()]
    for (let i = 0; i < all.length; i += BATCH_SIZE) {
      const known = await Promise.all(all.slice(i, i + BATCH_SIZE).map(check))
      if (known.includes(false)) return checkLater()
    }
  }

  function checkLater(): void {
    clearTimeout(timer)
    if (!closed) timer = setTimeout(() => void checkAll(), settleMs)
  }
  bus.onRestored(checkLater)

  return {
    apply,
    /** How many people are in a room, on all gateways; 0 if it is not open here. */
    size: (conversationId: string): number => rosters.get(conversationId)?.size ?? 0,
    /** Call when Redis lost its data: rooms opened before all gateways had written theirs again saw too few people. */
    checkLater,

    /**
     * Those with a socket in the room on any gateway: as last heard, if it is open here. If it is not, and Redis does
     * not answer, only those on this gateway. The caller closes it.
     */
    async view(conversationId: string): Promise<RosterView> {
      const reading = rosters.has(conversationId) ? null : await consult(conversationId)
      const now = () => {
        const keys = new Set(rosters.get(conversationId) ?? reading?.now())
        for (const key of here(conversationId)) keys.add(key)
        return keys
      }
      return {
        now: () => toOnline(now()),
        join(joining) {
          if (!rosters.has(conversationId)) {
            const found = reading?.now()
            if (!found) checkLater()
            rosters.set(conversationId, found ?? new Set())
          }
          return toOnline(now().add(joining))
        },
        close: () => reading?.close(),
      }
    },

    close(): void {
      closed = true
      clearTimeout(timer)
    },
  }
}

function setPresent(keys: Set<string>, key: string, isPresent: boolean): void {
  if (isPresent) keys.add(key)
  else keys.delete(key)
}

function toOnline(keys: Iterable<string>): Online {
  const online: Online = { users: [], agents: [] }
  for (const key of keys) {
    const colon = key.indexOf(':')
    const ids = key.slice(0, colon) === 'agent' ? online.agents : online.users
    ids.push(key.slice(colon + 1))
  }
  return online
}
