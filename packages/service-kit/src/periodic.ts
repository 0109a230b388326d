/**
 * Does its work in rounds, one at a time. `round` resolves to the milliseconds until the next. One that rejects is the
 * last: `start` rejects if it is the first, a later rejection is an uncaught exception.
 */
export function createPeriodic(round: () => Promise<number>) {
  let timer: NodeJS.Timeout | undefined
  let running: Promise<void> | undefined
  let again = false
  let closed = false

  function run(): Promise<void> | undefined {
    if (closed || running) return running
    clearTimeout(timer)
    again = false
    running = round().then((pauseMs) => {
      running = undefined
      if (!closed) timer = setTimeout(run, again ? 0 : pauseMs)
    })
    return running
  }

  return {
    /** Resolves with the first round. */
    async start(): Promise<void> {
      await run()
    },
    /** The next round begins at once, or right after the current one. */
    wake(): void {
      again = true
      void run()
    },
    /** No further round; resolves with the current one. */
    async close(): Promise<void> {
      closed = true
      clearTimeout(timer)
      await running
    },
  }
}
