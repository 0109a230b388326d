import type { Change } from '@parley/contract'
import { isGone, ParleyError, toParleyError } from './errors.ts'
import type { Rest } from './rest.ts'
import type { Timeline } from './timeline.ts'
import { abortedBy, anySignal, backoff, sleep } from './timing.ts'

export interface CatchUpOptions {
  conversationId: string
  rest: Rest
  timeline: Timeline
  applyChange(change: Change): void
  closed: AbortSignal
  onStart(): void
  /** Nothing is missing any longer. */
  onDone(): void
  /** The conversation can no longer be read. */
  onGone(): void
}

/** Fetches by REST what a room missed, until it has it. */
export function createCatchUp(options: CatchUpOptions) {
  const { conversationId, rest, timeline, applyChange, closed } = options
  /** Ends the run that is under way; null: none is. */
  let run: AbortController | null = null
  /** Somebody asked again since the last request went out: what it answers may be too old. */
  let again = false
  let toSeq = 0
  let toChangeSeq = 0
  /** Live changes wait behind older ones that are being fetched. */
  let deferred: (() => void)[] = []

  async function messages(signal: AbortSignal): Promise<void> {
    for (let failures = 0; ; ) {
      const { data, page } = await rest.messages.list(conversationId, {
        after: timeline.seq,
        limit: 100,
        signal,
      })
      timeline.page(data)
      if (page.hasMore) continue
      if (timeline.seq >= Math.max(toSeq, timeline.missingUpTo)) return
      // The answer is older than what the socket told before.
      failures += 1
      await sleep(backoff(failures), signal)
    }
  }

  async function changes(signal: AbortSignal): Promise<void> {
    let after = timeline.changeSeq
    for (let failures = 0; ; ) {
      const { data, page } = await rest.conversations.changes(conversationId, {
        after,
        limit: 100,
        signal,
      })
      for (const change of data) applyChange(change)
      // A listener may have left: then not all were handed out.
      if (signal.aborted) throw abortedBy(signal)
      after = data.at(-1)?.changeSeq ?? after
      if (page.hasMore) continue
      timeline.changesThrough(page.lastChangeSeq)
      if (page.lastChangeSeq >= toChangeSeq) return
      failures += 1
      await sleep(backoff(failures), signal)
    }
  }

  function flush(): void {
    const waiting = deferred
    deferred = []
    for (const apply of waiting) apply()
  }

  /** Rejects only if it is stopped. */
  async function fill(signal: AbortSignal): Promise<'done' | 'gone'> {
    for (let failures = 0; ; ) {
      again = false
      try {
        await messages(signal)
        await changes(signal)
        flush()
        if (!again && timeline.missingUpTo === 0) return 'done'
        failures = 0
      } catch (thrown) {
        const error = toParleyError(thrown)
        if (signal.aborted) throw error
        if (isGone(error)) return 'gone'
        // Anything else may be something on the way, and pass.
        failures += 1
        await sleep(backoff(failures, error.retryAfterMs), signal)
      }
    }
  }

  function begin(): void {
    const mine = new AbortController()
    run = mine
    options.onStart()
    fill(anySignal(mine.signal, closed) ?? mine.signal).then(
      (end) => {
        if (run !== mine) return
        run = null
        if (end === 'gone') options.onGone()
        else {
          flush()
          options.onDone()
        }
      },
      (error: unknown) => {
        if (!(error instanceof ParleyError)) throw error
      },
    )
  }

  return {
    get running() {
      return run !== null
    },
    /** Fetches up to these numbers at least. If called while it runs, it goes round once more. */
    start(seq = 0, changeSeq = 0): void {
      again = true
      toSeq = Math.max(toSeq, seq)
      toChangeSeq = Math.max(toChangeSeq, changeSeq)
      if (!run) begin()
    },
    /** What waited behind older changes is dropped: it will be asked for with them. */
    stop(): void {
      run?.abort()
      run = null
      deferred = []
    },
    /** Applies a live change now, or after the older ones that are on their way. */
    inOrder(apply: () => void): void {
      if (run) deferred.push(apply)
      else apply()
    },
  }
}
