import type { Change } from '@parley/contract'
import { ParleyError, toParleyError } from './errors.ts'
import type { Rest } from './rest.ts'
import type { Timeline } from './timeline.ts'
import { backoff, sleep } from './timing.ts'

export interface CatchUpOptions {
  conversationId: string
  rest: Rest
  timeline: Timeline
  applyChange(change: Change): void
  closed: AbortSignal
  onStart(): void
  /** Nothing is missing any more. */
  onDone(): void
  /** The conversation can't be read any more. */
  onRefused(error: ParleyError): void
}

export type CatchUp = ReturnType<typeof createCatchUp>

/** Fetches by REST what a room missed, until it has it. */
export function createCatchUp(options: CatchUpOptions) {
  const { conversationId, rest, timeline, applyChange, closed } = options
  let running = false
  /** Somebody asked again since the last request went out: what it answers may be too old. */
  let again = false
  let stopped = false
  let toSeq = 0
  let toChangeSeq = 0
  /** Live changes wait behind older ones that are being fetched. */
  let deferred: (() => void)[] = []

  async function messages(): Promise<void> {
    for (let failures = 0; !stopped; ) {
      const { data, page } = await rest.messages.list(conversationId, {
        after: timeline.seq,
        limit: 100,
        signal: closed,
      })
      timeline.page(data)
      if (page.hasMore) continue
      if (timeline.seq >= Math.max(toSeq, timeline.missingUpTo)) return
      // The answer is older than what the socket told before.
      failures += 1
      await sleep(backoff(failures), closed)
    }
  }

  async function changes(): Promise<void> {
    let after = timeline.changeSeq
    for (let failures = 0; !stopped; ) {
      const { data, page } = await rest.conversations.changes(conversationId, {
        after,
        limit: 100,
        signal: closed,
      })
      for (const change of data) applyChange(change)
      after = data.at(-1)?.changeSeq ?? after
      if (page.hasMore) continue
      timeline.changesThrough(page.lastChangeSeq)
      if (page.lastChangeSeq >= toChangeSeq) return
      failures += 1
      await sleep(backoff(failures), closed)
    }
  }

  function flush(): void {
    const waiting = deferred
    deferred = []
    for (const apply of waiting) apply()
  }

  async function run(): Promise<void> {
    for (let failures = 0; !stopped; ) {
      again = false
      try {
        await messages()
        await changes()
        flush()
        if (!again && timeline.missingUpTo === 0) return
        failures = 0
      } catch (thrown) {
        const error = toParleyError(thrown)
        if (closed.aborted) return
        if (!error.retryable) {
          options.onRefused(error)
          return
        }
        failures += 1
        await sleep(backoff(failures, error.retryAfterMs), closed)
      }
    }
  }

  return {
    get running() {
      return running
    },
    /** Fetches up to these numbers at least. Asked while it runs, it goes round once more. */
    start(seq = 0, changeSeq = 0): void {
      stopped = false
      again = true
      toSeq = Math.max(toSeq, seq)
      toChangeSeq = Math.max(toChangeSeq, changeSeq)
      if (running) return
      running = true
      options.onStart()
      run()
        .catch((error: unknown) => {
          // Only the end of the client gets here.
          if (!(error instanceof ParleyError)) throw error
        })
        .finally(() => {
          running = false
          flush()
          if (!stopped && !closed.aborted) options.onDone()
        })
    },
    stop(): void {
      stopped = true
    },
    /** Applies a live change now, or after the older ones that are on their way. */
    inOrder(apply: () => void): void {
      if (running) deferred.push(apply)
      else apply()
    },
  }
}
