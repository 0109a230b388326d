import { setTimeout as delay } from 'node:timers/promises'
import { problem } from '@parley/contract'

/** Milliseconds to wait for somebody else to finish making the same one. */
const TIMEOUT_MS = 10_000

/**
 * What `find` finds, or `make` makes. `make` resolves to null if somebody else was first; until their commit is on a
 * majority `find` does not see it, so both are tried again.
 *
 * @throws ProblemError unavailable, after 10 s
 */
export async function findOrMake<T>(
  find: () => Promise<T | null>,
  make: () => Promise<T | null>,
): Promise<{ value: T; created: boolean }> {
  const deadline = Date.now() + TIMEOUT_MS
  do {
    const found = await find()
    if (found) return { value: found, created: false }
    const made = await make()
    if (made) return { value: made, created: true }
    await delay(5 + Math.random() * 20)
  } while (Date.now() < deadline)
  throw problem('unavailable', { retryAfter: 1 })
}
