import { randomBytes } from 'node:crypto'
import { LEASES_KEY } from '@parley/contract'
import type { Redis } from 'ioredis'

export type Leases = ReturnType<typeof createLeases>

/**
 * Which gateway generations live. A gateway has one lease at a time; if its lease was lost (it stood still, or Redis
 * lost its data) it continues as a new generation, and the old one is cleared away like that of a dead gateway.
 *
 * Only a gateway that holds a lease, and has renewed it in time for a while, calls others dead: what kept this gateway
 * from renewing (a Redis that is full, a host that stood still) may have kept all of them.
 */
export function createLeases(
  redis: Redis,
  {
    gatewayId,
    leaseMs,
    settleMs,
    now = () => performance.now(),
  }: {
    gatewayId: string
    leaseMs: number
    /** Milliseconds within which every living gateway renews again once nothing keeps it from that. */
    settleMs: number
    now?: () => number
  },
) {
  let count = 0
  let generation: string | undefined
  let epoch: string | undefined
  let judgesFrom = Number.POSITIVE_INFINITY
  /** Names the Redis process that answers; it may have begun with a file, or as a replica, that lacks the latest. */
  let server = ''
  let serverMayHaveChanged = true
  let live = new Set<string>()
  let ended = new Set<string>()
  let reading: Promise<unknown> | undefined
  let next: Promise<string[]> | undefined

  const epochOf = (stored: string): string => `${server} ${stored}`

  async function read(): Promise<string[]> {
    const [alive, past] = await redis.leaseList(LEASES_KEY)
    const judges = generation !== undefined && alive.includes(generation) && now() >= judgesFrom
    // It clears its own former generations away itself, once all is held under the new one.
    const dead = judges ? past.filter((one) => !one.startsWith(`${gatewayId}#`)) : []
    ended = new Set(dead)
    live = new Set([...alive, ...past.filter((one) => !ended.has(one))])
    return dead
  }
  const judgeLater = () => {
    judgesFrom = now() + settleMs
  }

  /** Starts a new reading of the leases: one under way may be older than what the caller has just seen. */
  function refresh(): Promise<string[]> {
    const before = reading
    next ??= (async () => {
      // Its failure concerns only those who asked for it.
      await before?.catch(() => undefined)
      const current = read()
      reading = current
      next = undefined
      try {
        return await current
      } finally {
        if (reading === current) reading = undefined
      }
    })()
    return next
  }

  async function meet(generations: Iterable<string>): Promise<string[]> {
    const asked = [...new Set(generations)]
    if (asked.some((one) => !live.has(one) && !ended.has(one))) await refresh()
    return asked
  }

  return {
    /** Undefined until the first lease. */
    get generation(): string | undefined {
      return generation
    },
    /** Names one life of Redis's data: of one process, since it was last emptied. */
    get epoch(): string | undefined {
      return epoch
    },

    /** Rejects while Redis is away. `taken`: this is a new generation; `previous` has to be cleared away. */
    async renew(): Promise<{ taken: boolean; lostData: boolean; previous?: string }> {
      if (serverMayHaveChanged) {
        server = /run_id:(\w+)/.exec(await redis.info('server'))?.[1] ?? ''
        serverMayHaveChanged = false
      }
      const kept = generation === undefined ? null : await redis.leaseRenew(LEASES_KEY, generation, leaseMs)
      if (kept !== null && epochOf(kept[0]) === epoch) {
        // Less than half the lease was left. Whatever delayed this gateway may have delayed all: call none dead for
        // now.
        if (kept[1] < leaseMs / 2) judgeLater()
        return { taken: false, lostData: false }
      }
      const previous = generation
      const before = epoch
      count += 1
      const next = `${gatewayId}#${count}`
      epoch = epochOf(await redis.leaseTake(LEASES_KEY, next, leaseMs, randomBytes(8).toString('hex')))
      generation = next
      judgeLater()
      const lostData = before !== undefined && before !== epoch
      return previous === undefined ? { taken: true, lostData } : { taken: true, lostData, previous }
    },

    /** Call for each new connection: the next renewal finds out whether Redis is the same process. */
    onReconnected(): void {
      serverMayHaveChanged = true
      judgeLater()
    },

    /** Reads all leases; resolves to the generations known to have ended that are not yet cleared away. */
    refresh,

    /** Those of these generations that live, by the last reading; if one of them is unknown, leases are read again. */
    async alive(generations: Iterable<string>): Promise<Set<string>> {
      const asked = await meet(generations)
      return new Set(asked.filter((one) => live.has(one)))
    },

    /** The same, and those that are known to have ended and not yet cleared away. */
    async uncleared(generations: Iterable<string>): Promise<Set<string>> {
      const asked = await meet(generations)
      return new Set(asked.filter((one) => live.has(one) || ended.has(one)))
    },

    /** Ends a generation's lease in `ms` milliseconds: what it holds is then cleared away like a dead gateway's. */
    async release(ms: number): Promise<void> {
      if (generation !== undefined) await redis.leaseRenew(LEASES_KEY, generation, ms)
    },

    /** Forgets a generation once it is cleared away. */
    async forget(ended: string): Promise<void> {
      await redis.hdel(LEASES_KEY, ended)
    },
  }
}
