import { setTimeout as delay } from 'node:timers/promises'

/**
 * Asks until the answer is no longer `undefined`. After `timeoutMs` throws what `failure` makes; so does a
 * `check` that throws, at once.
 */
export async function until<T>(
  check: () => Promise<T | undefined>,
  options: { timeoutMs: number; everyMs: number; failure: () => Error },
): Promise<T> {
  const deadline = Date.now() + options.timeoutMs
  for (;;) {
    const answer = await check()
    if (answer !== undefined) return answer
    if (Date.now() >= deadline) throw options.failure()
    await delay(options.everyMs)
  }
}
