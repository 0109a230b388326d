import type { ReadResult } from '@parley/contract'

/** Of read positions in quick succession only the highest goes out; one request at a time. */
export function createReader(request: (seq: number) => Promise<ReadResult>) {
  let highest = 0
  let running: Promise<ReadResult> | null = null
  let next: Promise<ReadResult> | null = null

  function start(): Promise<ReadResult> {
    running = request(highest).finally(() => {
      running = null
    })
    return running
  }

  return {
    read(seq: number): Promise<ReadResult> {
      highest = Math.max(highest, seq)
      if (!running) return start()
      next ??= running.then(
        () => {
          next = null
          return start()
        },
        () => {
          next = null
          return start()
        },
      )
      return next
    },
  }
}
