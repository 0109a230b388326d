export type Beat = ReturnType<typeof createBeat>

/**
 * Runs everything that is due at the next beat in one turn, so that the output of hundreds of streams leaves, and
 * arrives, in few packets. The timer rests while nothing waits.
 *
 * @param ms milliseconds between beats: what is due runs at most this much later
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
    /**
     * Runs once, at the first beat from `due` (a `performance.now()` time) on; if added again, the later call counts.
     */
    add(run: () => void, due: number): void {
      waiting.set(run, due)
      arm()
    },
    remove: (run: () => void): boolean => waiting.delete(run),
  }
}
