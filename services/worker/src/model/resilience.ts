import { APICallError } from 'ai'
import {
  CircuitState,
  ConsecutiveBreaker,
  circuitBreaker,
  DelegateBackoff,
  handleAll,
  handleWhen,
  retry,
  wrap,
} from 'cockatiel'

export interface ResilienceOptions {
  /** Calls for one summary, the first included. */
  attempts: number
  /** Milliseconds before the second call; doubles after, half of it at random. */
  backoffMs: number
  /** A longer `Retry-After` (milliseconds) is not waited for, but respected: no call until then. */
  maxWaitMs: number
  /** Failed summaries in a row that open the circuit, and milliseconds until it is tried again. */
  failures: number
  openMs: number
}

/** Thrown instead of a call while the endpoint has asked to be left alone. */
class ModelQuietError extends Error {
  constructor(until: number) {
    super(`The model asked for no calls until ${new Date(until).toISOString()}`)
    this.name = 'ModelQuietError'
  }
}

/** Retries transient failures, waits as long as `Retry-After` says, and stops calling a model that keeps failing. */
export function createResilience(options: ResilienceOptions) {
  let quietUntil = 0
  const retries = retry(
    handleWhen((error) => mayPass(error) && (retryAfterMs(error) ?? 0) <= options.maxWaitMs),
    {
      maxAttempts: options.attempts - 1,
      backoff: new DelegateBackoff(({ attempt, result }) => {
        const asked = 'error' in result ? retryAfterMs(result.error) : undefined
        const exponential = options.backoffMs * 2 ** (attempt - 1)
        return Math.max(asked ?? 0, exponential * (0.5 + Math.random() / 2))
      }),
    },
  )
  const breaker = circuitBreaker(handleAll, {
    breaker: new ConsecutiveBreaker(options.failures),
    halfOpenAfter: options.openMs,
  })
  const policy = wrap(breaker, retries)

  return {
    /** Rejects as the last call did, or at once while the circuit is open or the endpoint wants quiet. */
    async execute<T>(call: (signal: AbortSignal) => Promise<T>, signal: AbortSignal): Promise<T> {
      if (Date.now() < quietUntil) throw new ModelQuietError(quietUntil)
      const attempt = async (context: { signal: AbortSignal }): Promise<T> => {
        try {
          return await call(context.signal)
        } catch (error) {
          const wait = retryAfterMs(error)
          if (wait !== undefined) quietUntil = Math.max(quietUntil, Date.now() + wait)
          throw error
        }
      }
      // The wait before a retry does not hear the signal.
      const { promise: aborted, reject } = Promise.withResolvers<never>()
      const onAbort = () => reject(signal.reason)
      signal.addEventListener('abort', onAbort, { once: true })
      try {
        signal.throwIfAborted()
        return await Promise.race([policy.execute(attempt, signal), aborted])
      } finally {
        signal.removeEventListener('abort', onAbort)
      }
    },
    isOpen: (): boolean => breaker.state === CircuitState.Open || Date.now() < quietUntil,
  }
}

function mayPass(error: unknown): boolean {
  return APICallError.isInstance(error) ? error.isRetryable : false
}

/** What an error's `Retry-After` asks for, in milliseconds from now; a date in the past is 0. */
export function retryAfterMs(error: unknown): number | undefined {
  const value = APICallError.isInstance(error) ? error.responseHeaders?.['retry-after'] : undefined
  if (value === undefined) return undefined
  const wait = /^\d+(\.\d+)?$/.test(value) ? Number(value) * 1_000 : Date.parse(value) - Date.now()
  return Number.isNaN(wait) ? undefined : Math.max(0, wait)
}
