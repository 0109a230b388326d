import { type Online, roomChannel } from '@parley/contract'
import type { Logger } from '@parley/service-kit'
import type { Bus } from '../bus/bus.ts'
import type { Lifecycle } from '../lifecycle.ts'

/** Rooms that are checked at a time. */
const BATCH_SIZE = 200

/** Who is in a room, kept up to date until it is closed. */
export interface RosterView {
  now(): Online
  /** The same for `joining` (`user:ada`), who is there from now on and hears of what changes. */
  join(joining: string): Online
  close(): void
}

interface Reading {
  /** null: Redis did not answer. */
  found: Promise<string[] | null>
  /** Comings and goings that all gateways were told of since it began, in their order. */
  transitions: [key: string, isPresent: boolean][]
  views: number
}

export type Rosters = ReturnType<typeof createRosters>

/**
 * Per open room its roster: whom its sockets were told to be present. A joiner gets the roster, then the same updates as
 * everyone. The first join reads it from Redis; updates that arrive during the read are replayed on it. After a broken
 * subscription, or a loss of Redis's data, the roster is compared with Redis and the room is told the difference.
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
  /** Who has a socket in the room on this gateway: they are there, whatever Redis says. */
  here(conversationId: string): Iterable<string>
  /** Tells the sockets here. */
  tell(conversationId: string, key: string, isPresent: boolean): void
  /** Milliseconds after a break within which every gateway has written to Redis again whom it holds. */
  settleMs: number
  logger: Logger
}) {
  const rosters = new Map<string, Set<string>>()
  /** By conversation, readings that somebody still views. */
  const open = new Map<string, Set<Reading>>()
  /** Of them the one that has no answer yet. */
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
        logger.debug({ err: error }, 'who is in a room is told from this gateway alone')
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

  /** Tells a room what it was not told. Resolves to whether that is known. */
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
    /** How many people are in a room, on all gateways; 0 where it is not open here. */
    size: (conversationId: string): number => rosters.get(conversationId)?.size ?? 0,
    /** To be called when Redis lost its data: rooms opened before all gateways had written theirs again saw too few. */
    checkLater,

    /**
     * Who has a socket in the room on any gateway: where it is open here, as was last heard. Where it is not, and Redis
     * does not answer, only on this gateway. To be closed.
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
