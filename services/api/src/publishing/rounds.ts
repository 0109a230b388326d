export type Rounds = ReturnType<typeof createRounds>

/** Does its work in rounds, one at a time. `round` resolves to the milliseconds until the next, and never rejects. */
export function createRounds(round: () => Promise<number>) {
  let timer: NodeJS.Timeout | undefined
  let running: Promise<void> | undefined
  let again = false
  let closed = false

  function run(): void {
    if (closed) return
    if (running) {
      again = true
      return
    }
    clearTimeout(timer)
    again = false
    running = round().then((pauseMs) => {
      running = undefined
      if (!closed) timer = setTimeout(run, again ? 0 : pauseMs)
    })
  }

  return {
    start: run,
    /** The next round begins at once, or right behind the present one. */
    wake: run,
    async close(): Promise<void> {
      closed = true
      clearTimeout(timer)
      await running
    },
  }
}
