import { type Online, PRESENCE_CHANNEL } from '@parley/contract'
import type { Logger } from '@parley/service-kit'
import type { Redis } from 'ioredis'
import type { Bus } from '../bus/bus.ts'
import type { Outbound } from '../connection/outbound.ts'
import type { Rooms } from '../delivery/rooms.ts'
import type { Lifecycle } from '../lifecycle.ts'
import type { ChatSocket } from '../sockets.ts'
import { createAggregates } from './aggregates.ts'
import { announcePresence, announceRoomTransition } from './announce.ts'
import { createAudience } from './audience.ts'
import { createLeases } from './leases.ts'
import { createPresenceQueries } from './queries.ts'
import { createReaper } from './reaper.ts'
import type { Registration } from './registration.ts'
import { createRegistrations } from './registrations.ts'
import { createRosters } from './rosters.ts'
import { definePresenceScripts } from './scripts.ts'
import { createPresenceWrites } from './writes.ts'

/** Milliseconds. A dead gateway's people are offline after at most lease + renew + the time it takes to clear up. */
export const PRESENCE_TIMES = {
  /** A gateway that does not renew for this long is dead. */
  leaseMs: 9_000,
  /** Between two renewals; after each, a gateway looks for dead ones. */
  renewMs: 2_000,
  /** A page that reloads within this time causes no event. */
  debounceMs: 2_000,
  /** After a break, nobody is cleared away until every living gateway has renewed. */
  settleMs: 6_000,
}

/** Milliseconds, after taking a new lease, for noticing sockets cut off while this process stood still. */
const WAKE_MS = 100

export type PresenceFeature = ReturnType<typeof createPresence>

/**
 * Who is online, and who is in a room: held in Redis by all gateways together, and passed on to the rooms here. `redis`
 * is a `fast` connection. While Redis is away, a room that is open here is shown as last heard, any other with this
 * gateway's own sockets only.
 */
export function createPresence(options: {
  redis: Redis
  bus: Bus
  rooms: Rooms
  outbound: Outbound
  lifecycle: Lifecycle
  logger: Logger
  /** Names this process among all gateways; no `#`, `:` or space. */
  gatewayId: string
  times?: Partial<typeof PRESENCE_TIMES>
}) {
  const { redis, bus, rooms, outbound, lifecycle, logger, gatewayId } = options
  const times = { ...PRESENCE_TIMES, ...options.times }
  definePresenceScripts(redis)
  const leases = createLeases(redis, { gatewayId, ...times })
  const writes = createPresenceWrites(redis)
  const reaper = createReaper({ redis, leases, writes })
  const registrations = createRegistrations({ leases, reaper, writes, logger, settleMs: times.settleMs })
  const queries = createPresenceQueries({ redis, leases, writes })
  const aggregates = createAggregates({
    rooms,
    lifecycle,
    peopleIn: (room) => rosters.size(room.conversationId),
  })
  /** Sockets here, counted by conversation and participant; those that were cut off count until the debounce ends. */
  const socketCounts = new Map<string, Map<string, number>>()
  const rosters = createRosters({
    bus,
    lifecycle,
    read: queries.inRoom,
    here: (conversationId) => socketCounts.get(conversationId)?.keys() ?? [],
    tell: (...transition) => announceRoomTransition({ rooms, aggregates }, ...transition),
    settleMs: times.settleMs,
    logger,
  })
  announcePresence({ bus, outbound, aggregates, rosters, audience: createAudience(lifecycle) })
  /** Departures that may still turn out to be reloads. */
  const departures = new Map<NodeJS.Timeout, () => void>()

  function later(depart: () => void): void {
    const timer = setTimeout(() => {
      departures.delete(timer)
      depart()
    }, times.debounceMs)
    departures.set(timer, depart)
  }
  function departNow(): void {
    for (const [timer, depart] of departures) {
      clearTimeout(timer)
      depart()
    }
    departures.clear()
  }

  const personRegistration = ({ id, data }: ChatSocket): Registration => ({
    kind: 'person',
    orgId: data.orgId,
    type: data.type,
    id: data.userId,
    socket: id,
  })
  const roomRegistration = ({ data }: ChatSocket, conversationId: string): Registration => ({
    kind: 'room',
    conversationId,
    type: data.type,
    id: data.userId,
  })

  function enter(socket: ChatSocket, conversationId: string): void {
    const people = socketCounts.get(conversationId) ?? new Map<string, number>()
    socketCounts.set(conversationId, people)
    const count = people.get(socket.data.key) ?? 0
    people.set(socket.data.key, count + 1)
    if (count === 0) registrations.add(roomRegistration(socket, conversationId))
  }
  function leave(socket: ChatSocket, conversationId: string): void {
    const people = socketCounts.get(conversationId)
    const count = people?.get(socket.data.key)
    if (!people || count === undefined) return
    if (count > 1) {
      people.set(socket.data.key, count - 1)
      return
    }
    people.delete(socket.data.key)
    if (people.size === 0) socketCounts.delete(conversationId)
    registrations.remove(roomRegistration(socket, conversationId))
  }

  lifecycle.on('connected', (socket) => registrations.add(personRegistration(socket)))
  lifecycle.on('disconnected', (socket) => later(() => registrations.remove(personRegistration(socket))))
  lifecycle.on('joined', (socket, room) => enter(socket, room.conversationId))
  lifecycle.on('left', (socket, { conversationId }) => {
    // Decided after this turn: a revoked socket is taken out of its rooms first, and cut off in the same turn.
    queueMicrotask(() => {
      if (socket.connected) leave(socket, conversationId)
      else later(() => leave(socket, conversationId))
    })
  })
  lifecycle.on('receipt', (room, receipt) => {
    if (aggregates.isLarge(room)) aggregates.receipt(room, receipt)
    else rooms.emit(room.conversationId, 'message:receipt', receipt)
  })

  function flush(): void {
    registrations
      .flush()
      .catch((error: unknown) => logger.debug({ err: error }, 'presence is written again later'))
  }
  let waking: NodeJS.Timeout | undefined
  /**
   * Continues as a new generation. Those who have left may have been called gone already: they are not registered
   * again.
   */
  function wake(): void {
    departNow()
    flush()
  }
  let renewing: Promise<boolean> | undefined
  /** Resolves to whether this gateway holds its lease. */
  function renew(): Promise<boolean> {
    renewing ??= registrations
      .renew()
      .then(({ taken, lostData }) => {
        if (lostData) rosters.checkLater()
        if (taken) waking = setTimeout(wake, WAKE_MS)
        else flush()
        return true
      })
      .catch((error: unknown) => {
        logger.debug({ err: error }, 'the presence lease was not renewed')
        return false
      })
      .finally(() => {
        renewing = undefined
      })
    return renewing
  }
  let reaping: Promise<void> | undefined
  function reap(): void {
    reaping ??= reaper
      .run()
      .catch((error: unknown) => logger.debug({ err: error }, 'dead gateways were not cleared away'))
      .finally(() => {
        reaping = undefined
      })
  }
  const onReady = () => {
    leases.onReconnected()
    void renew()
  }
  redis.on('ready', onReady)
  if (redis.status === 'ready') onReady()
  void bus.hold(PRESENCE_CHANNEL)
  async function beat(): Promise<void> {
    if (redis.status === 'ready' && (await renew())) reap()
  }
  const beats = setInterval(() => void beat(), times.renewMs)

  return {
    ...queries,

    viewRoster: rosters.view,

    /** Who has a socket in the room on any gateway; while Redis is away, as above. */
    async online(conversationId: string): Promise<Online> {
      const view = await rosters.view(conversationId)
      try {
        return view.now()
      } finally {
        view.close()
      }
    },

    /** Hands its people over: within seconds, those who did not connect to another gateway count as offline. */
    async close(): Promise<void> {
      redis.off('ready', onReady)
      clearInterval(beats)
      for (const timer of departures.keys()) clearTimeout(timer)
      rosters.close()
      aggregates.close()
      await renewing
      clearTimeout(waking)
      await reaping
      await leases
        .release(times.debounceMs)
        .catch((error: unknown) => logger.debug({ err: error }, 'the presence lease will run out by itself'))
    },
  }
}
