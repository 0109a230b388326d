export type Beat = ReturnType<typeof createBeat>

/**
 * Runs what is due at the next beat, all in one turn: what hundreds of streams have to say then leaves, and arrives, in
 * few packets. Nothing beats while nothing waits.
 *
 * @param ms milliseconds between beats: what is due runs at most so much later
 */
export function createBeat(ms: number) {
  const waiting = new Map<() => void, number>()
  let timer: NodeJS.Timeout | undefined

  function beat(): void {
    timer = undefined
    const now = performance.now() + ms / 2
    for (const [run, due] of waiting) {
      if (due > now) continue
      waiting.delete(run)
      run()
    }
    arm()
  }
  function arm(): void {
    if (waiting.size > 0 && timer === undefined) timer = setTimeout(beat, ms)
  }

  return {
    /** Runs once, at the first beat from `due` on (of `performance.now()`); added again, the later call counts. */
    add(run: () => void, due: number): void {
      waiting.set(run, due)
      arm()
    },
    remove: (run: () => void): boolean => waiting.delete(run),
  }
}
