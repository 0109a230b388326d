import type { Logger } from '@parley/service-kit'
import type { Leases } from './leases.ts'
import type { Reaper } from './reaper.ts'
import { encodeRegistration, type Registration } from './registration.ts'
import { BATCH_SIZE, type PresenceWrites } from './writes.ts'

/**
 * One registration on its way to what is wanted.
 *
 * | wanted | `heldBy` | what is done next |
 * | --- | --- | --- |
 * | yes | the present generation | nothing, unless a removal was sent and not answered: then written |
 * | yes | none, or an earlier one | written |
 * | no | the present generation | removed; not found there: once more at the next flush |
 * | no | none, or an earlier one | removed, and forgotten here |
 */
interface Entry {
  registration: Registration
  wanted: boolean
  /** The generation under which it is in Redis. */
  heldBy?: string
  /** The epoch of Redis's data (see `leases.epoch`) in which others were told of it; unset: never. */
  toldIn?: string
  /** A removal did not find it where it should have been: Redis may have lost its data, as the next renewal tells. */
  notFoundOnce: boolean
  /** A removal was sent and not answered: it may have been done. */
  unsure: boolean
  running: Promise<void> | undefined
}

export interface RegistrationTimes {
  /** Milliseconds after a loss of Redis's data within which every gateway has written its registrations again. */
  settleMs: number
}

/**
 * What this gateway registers in Redis, written at once, and again as needed: after Redis was away or lost its data, or
 * after the gateway stood still for longer than its lease.
 */
export function createRegistrations({
  leases,
  reaper,
  writes,
  logger,
  settleMs,
}: RegistrationTimes & { leases: Leases; reaper: Reaper; writes: PresenceWrites; logger: Logger }) {
  const entries = new Map<string, Entry>()
  /** Own generations that lost their lease. */
  const superseded = new Set<string>()
  let settledAt = 0
  let flushing: Promise<void> | undefined

  async function settle(name: string, entry: Entry): Promise<void> {
    for (;;) {
      const { generation, epoch } = leases
      if (generation === undefined || epoch === undefined) return
      // Told of already, in data that Redis lost since: nobody was told that they left.
      const lost = entry.toldIn !== undefined && entry.toldIn !== epoch
      if (entry.wanted) {
        if (entry.heldBy === generation && !entry.unsure) return
        await writes.add({ generation, registration: entry.registration, tell: !lost })
        entry.heldBy = generation
        entry.toldIn = epoch
        entry.notFoundOnce = false
        entry.unsure = false
        continue
      }
      // After Redis lost its data, other gateways may not have registered again, so a removal could wrongly announce
      // somebody as gone: wait until `settledAt`. Room entries added since need not: rooms are checked again then.
      if ((lost || entry.registration.kind === 'person') && performance.now() < settledAt) return
      entry.unsure = true
      const found = await reaper.remove(generation, entry.registration, lost)
      entry.unsure = false
      if (!entry.wanted) {
        if (!found && !lost && entry.heldBy === generation && !entry.notFoundOnce) entry.notFoundOnce = true
        else entries.delete(name)
        return
      }
      delete entry.heldBy
      delete entry.toldIn
    }
  }

  /** One write of an entry at a time, which also writes what changed meanwhile. */
  function write(name: string, entry: Entry): Promise<void> {
    entry.running ??= settle(name, entry).finally(() => {
      entry.running = undefined
    })
    return entry.running
  }
  const writeSoon = (name: string, entry: Entry) => {
    write(name, entry).catch((error: unknown) =>
      logger.debug({ err: error }, 'presence is written again later'),
    )
  }

  async function flushAll(): Promise<void> {
    const { generation } = leases
    const waiting = [...entries].filter(
      ([, entry]) => !entry.wanted || entry.heldBy !== generation || entry.unsure,
    )
    for (let i = 0; i < waiting.length; i += BATCH_SIZE) {
      await Promise.all(waiting.slice(i, i + BATCH_SIZE).map(([name, entry]) => write(name, entry)))
    }
    // Only now that all is registered under the new generation does clearing an old one away remove nobody's last
    // entry. After a loss of data, other gateways need to have registered again as well.
    if (generation !== leases.generation || performance.now() < settledAt) return
    for (const previous of superseded) {
      await reaper.clear(previous)
      superseded.delete(previous)
    }
  }

  return {
    add(registration: Registration): void {
      const name = encodeRegistration(registration)
      let entry = entries.get(name)
      if (entry) {
        if (entry.notFoundOnce) delete entry.heldBy
        entry.notFoundOnce = false
        entry.wanted = true
      } else {
        entry = { registration, wanted: true, notFoundOnce: false, unsure: false, running: undefined }
        entries.set(name, entry)
      }
      writeSoon(name, entry)
    },

    remove(registration: Registration): void {
      const name = encodeRegistration(registration)
      const entry = entries.get(name)
      if (!entry) return
      entry.wanted = false
      writeSoon(name, entry)
    },

    /** All entries registered or waiting to be removed. */
    get size(): number {
      return entries.size
    },

    /** Renews the lease. Rejects while Redis is away. `taken`: this is a new generation. */
    async renew(): Promise<{ taken: boolean; lostData: boolean }> {
      const { taken, lostData, previous } = await leases.renew()
      if (lostData) settledAt = performance.now() + settleMs
      if (previous !== undefined) superseded.add(previous)
      return { taken, lostData }
    },

    /**
     * Writes whatever Redis doesn't have as it should be. Not part of a renewal: thousands of registrations may take
     * longer than a lease. Rejects while Redis is away.
     */
    flush(): Promise<void> {
      flushing ??= flushAll().finally(() => {
        flushing = undefined
      })
      return flushing
    },
  }
}
