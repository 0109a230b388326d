import { randomBytes } from 'node:crypto'
import { LEASES_KEY } from '@parley/contract'
import type { Redis } from 'ioredis'

/** Milliseconds for which the other generations are taken as known before an unknown one is looked up. */
const FRESH_MS = 200

export type Leases = ReturnType<typeof createLeases>

/**
 * Which gateway generations live. A gateway has one lease at a time; where its lease was lost (it stood still, or
 * Redis lost its data) it goes on as a new generation, and the old one is cleared away like that of a dead gateway.
 */
export function createLeases(redis: Redis, { gatewayId, leaseMs }: { gatewayId: string; leaseMs: number }) {
  let count = 0
  let generation: string | undefined
  let epoch: string | undefined
  let live = new Set<string>()
  let readAt = 0
  let reading: Promise<string[]> | undefined

  const refresh = (): Promise<string[]> => {
    reading ??= redis
      .leaseList(LEASES_KEY)
      .then(([alive, dead]) => {
        live = new Set(alive)
        readAt = performance.now()
        return dead
      })
      .finally(() => {
        reading = undefined
      })
    return reading
  }

  return {
    /** Undefined until the first lease. */
    get generation(): string | undefined {
      return generation
    },
    /** Names one life of Redis's data. */
    get epoch(): string | undefined {
      return epoch
    },

    /** Rejects while Redis is away. `taken`: this is a new generation; `previous` has to be cleared away. */
    async renew(): Promise<{ taken: boolean; lostData: boolean; previous?: string }> {
      const kept = generation === undefined ? null : await redis.leaseRenew(LEASES_KEY, generation, leaseMs)
      if (kept !== null && kept === epoch) return { taken: false, lostData: false }
      const previous = generation
      const before = epoch
      count += 1
      const next = `${gatewayId}#${count}`
      epoch = await redis.leaseTake(LEASES_KEY, next, leaseMs, randomBytes(8).toString('hex'))
      generation = next
      const lostData = before !== undefined && before !== epoch
      return previous === undefined ? { taken: true, lostData } : { taken: true, lostData, previous }
    },

    /** Reads all leases; resolves to the generations that have ended and are not yet cleared away. */
    refresh,

    /** Of some generations those that live, by what was read last; an unknown one is looked up. */
    async alive(generations: Iterable<string>): Promise<Set<string>> {
      const asked = new Set(generations)
      if (![...asked].every((one) => live.has(one)) && performance.now() - readAt > FRESH_MS) await refresh()
      return new Set([...asked].filter((one) => live.has(one)))
    },

    /** Ends a generation's lease in `ms` milliseconds: what it holds then goes the way of a dead gateway's. */
    async release(ms: number): Promise<void> {
      if (generation !== undefined) await redis.leaseRenew(LEASES_KEY, generation, ms)
    },

    /** Forgets a generation that was cleared away. */
    async forget(ended: string): Promise<void> {
      await redis.hdel(LEASES_KEY, ended)
    },
  }
}
