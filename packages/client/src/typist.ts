/** The signal is repeated this often while somebody types: it ends by itself after 6 s. */
const REPEAT_MS = 3_000
const IDLE_MS = 5_000

/** Turns key strokes into few typing signals. */
export function createTypist(signal: (isTyping: boolean) => void) {
  let since = 0
  let idle: ReturnType<typeof setTimeout> | undefined

  function stop(): void {
    clearTimeout(idle)
    if (since === 0) return
    since = 0
    signal(false)
  }

  return {
    stop,
    type(isTyping: boolean): void {
      if (!isTyping) {
        stop()
        return
      }
      clearTimeout(idle)
      idle = setTimeout(stop, IDLE_MS)
      if (Date.now() - since < REPEAT_MS) return
      since = Date.now()
      signal(true)
    },
    /** A message went out: receivers end the signal themselves. */
    sent(): void {
      clearTimeout(idle)
      since = 0
    },
  }
}
