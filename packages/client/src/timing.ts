import { isGone, ParleyError, toParleyError } from './errors.ts'

/** Milliseconds; a timer that should be longer is over at once. */
export const MAX_TIMER_MS = 2 ** 31 - 1

/** Fires after so long, at once if that is not above 0; never, where no timer is that long. */
export const timeLimit = (ms: number): AbortSignal | undefined =>
  ms > MAX_TIMER_MS ? undefined : AbortSignal.timeout(Math.max(0, Math.ceil(ms)))

/** Waits; ends early by throwing `aborted` when the signal fires. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(abortedBy(signal))
      return
    }
    const onAbort = () => {
      clearTimeout(timer)
      reject(abortedBy(signal))
    }
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', onAbort)
      resolve()
    }, ms)
    signal?.addEventListener('abort', onAbort, { once: true })
  })
}

/** The error that a signal stands for: its own reason where that is one of ours. */
export function abortedBy(signal: AbortSignal | undefined): ParleyError {
  const reason: unknown = signal?.reason
  if (reason instanceof ParleyError) return reason
  return new ParleyError('aborted', 'The call was aborted', { cause: reason })
}

/** Gives up on a promise when the signal fires; the promise itself goes on unheard. */
export function raceSignal<T>(promise: Promise<T>, signal?: AbortSignal): Promise<T> {
  if (!signal) return promise
  if (signal.aborted) {
    promise.catch(() => undefined)
    return Promise.reject(abortedBy(signal))
  }
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(abortedBy(signal))
    signal.addEventListener('abort', onAbort, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
  })
}

/**
 * What a signal was made of, for as long as it lives: Node holds that weakly, and a time limit that was collected never
 * fires.
 */
const sources = new WeakMap<AbortSignal, AbortSignal[]>()

/** One signal out of several; none if there are none. */
export function anySignal(...signals: (AbortSignal | undefined)[]): AbortSignal | undefined {
  const given = signals.filter((signal) => signal !== undefined)
  if (given.length < 2) return given[0]
  const either = AbortSignal.any(given)
  sources.set(either, given)
  return either
}

/**
 * Milliseconds before the next try, after `failures` (1, 2 …) of them: doubling from 200 ms up to 5 s, of which a
 * random half to whole is waited, so that many clients don't come back as one. Never less than the server asked for.
 */
export function backoff(failures: number, atLeastMs = 0): number {
  const ceiling = Math.min(5_000, 100 * 2 ** Math.min(failures, 10))
  const jittered = ceiling * (0.5 + Math.random() / 2)
  return atLeastMs > jittered ? atLeastMs + Math.random() * 250 : jittered
}

/**
 * Does it again unless it is gone or the token is refused, with pauses in between; until the signal fires, or the
 * client is closed.
 */
export async function insist<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
  for (let failures = 1; ; failures++) {
    try {
      return await work()
    } catch (thrown) {
      const error = toParleyError(thrown)
      const over = error.status === 401 || error.code === 'closed' || error.code === 'aborted'
      if (over || isGone(error)) throw error
      await sleep(backoff(failures, error.retryAfterMs), signal)
    }
  }
}

/** A random UUID, also where a page has no secure context. */
export function randomId(): string {
  if (typeof crypto.randomUUID === 'function') return crypto.randomUUID()
  const hex = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) =>
    byte.toString(16).padStart(2, '0'),
  )
  return hex.join('')
}

/** For what may be cut short by a signal, and by nothing else. */
export function ignoreAbort(error: unknown): void {
  if (!(error instanceof ParleyError)) throw error
}
