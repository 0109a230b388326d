import type { ReadResult } from '@parley/contract'

/** Of read positions in quick succession only the highest goes out; one request at a time. */
export function createReader(request: (seq: number) => Promise<ReadResult>) {
  /** The highest that was asked for since the last request went out. */
  let highest = 0
  let running: Promise<ReadResult> | null = null
  let next: Promise<ReadResult> | null = null

  function start(): Promise<ReadResult> {
    const seq = highest
    highest = 0
    next = null
    running = request(seq).finally(() => {
      running = null
    })
    return running
  }

  return {
    read(seq: number): Promise<ReadResult> {
      // The server says what is wrong with it, to this caller alone.
      if (!Number.isSafeInteger(seq) || seq < 0) return request(seq)
      highest = Math.max(highest, seq)
      if (!running) return start()
      // Whoever asked just as that one was through has sent this one's as well.
      const again = () => running ?? start()
      next ??= running.then(again, again)
      return next
    },
  }
}
