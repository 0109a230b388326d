import { heldKey } from '@parley/contract'
import type { Redis } from 'ioredis'
import type { Leases } from './leases.ts'
import { decodeRegistration, type Registration } from './registration.ts'
import { BATCH_SIZE, generationOf, type PresenceWrites, socketOf } from './writes.ts'

export type Reaper = ReturnType<typeof createReaper>

/** Clears away what dead generations hold. Several gateways may do so at once: each removal is told at most once. */
export function createReaper({
  redis,
  leases,
  writes,
}: {
  redis: Redis
  leases: Leases
  writes: PresenceWrites
}) {
  async function clear(generation: string): Promise<void> {
    for (;;) {
      const held = await redis.srandmember(heldKey(generation), BATCH_SIZE)
      if (held.length === 0) break
      await Promise.all(
        held.map((text) =>
          writes.remove({ generation, registration: decodeRegistration(text), always: false }),
        ),
      )
    }
    await leases.forget(generation)
  }

  return {
    clear,

    /**
     * Removes the registration, and with it whatever dead generations left beside it, so that no ghost keeps it.
     * Resolves to whether it was there.
     */
    async remove(generation: string, registration: Registration, always: boolean): Promise<boolean> {
      const { rest, found } = await writes.remove({ generation, registration, always })
      if (rest.length === 0) return found
      const alive = await leases.alive(rest.map(generationOf))
      const ghosts = rest.filter((member) => !alive.has(generationOf(member)))
      if (ghosts.length < rest.length) return found
      await Promise.all(
        ghosts.map((member) =>
          writes.remove({
            generation: generationOf(member),
            registration:
              registration.kind === 'person' ? { ...registration, socket: socketOf(member) } : registration,
            always: false,
          }),
        ),
      )
      return found
    },

    /** Looks for generations that have ended and clears them away. */
    async run(): Promise<void> {
      for (const generation of await leases.refresh()) await clear(generation)
    },
  }
}
