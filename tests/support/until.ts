import { setTimeout as delay } from 'node:timers/promises'

/**
 * Asks again and again until the answer is truthy; after `timeoutMs` throws, naming `what`, which is asked for then.
 */
export async function until<T>(
  check: () => T | Promise<T>,
  {
    timeoutMs = 10_000,
    everyMs = 20,
    what = 'the condition',
  }: { timeoutMs?: number; everyMs?: number; what?: string | (() => string) } = {},
): Promise<NonNullable<T>> {
  const deadline = performance.now() + timeoutMs
  for (;;) {
    const answer = await check()
    if (answer) return answer as NonNullable<T>
    if (performance.now() > deadline) {
      throw new Error(`${typeof what === 'string' ? what : what()}: not so after ${timeoutMs} ms`)
    }
    await delay(everyMs)
  }
}

/** Like {@link until}, but says whether it came to be. */
export const comesTrue = (check: () => unknown, timeoutMs: number): Promise<boolean> =>
  until(check, { timeoutMs }).then(
    () => true,
    () => false,
  )

/** Runs `work` over the items, `width` at a time, in their order. */
export async function each<T>(
  items: Iterable<T>,
  width: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const queue = items[Symbol.iterator]()
  const lane = async () => {
    for (let next = queue.next(); !next.done; next = queue.next()) await work(next.value)
  }
  await Promise.all(Array.from({ length: width }, lane))
}
