import type { FieldError, Problem, ProblemCode } from '@parley/contract'

/** Why a call failed without an answer from the server. */
export type LocalCode = 'network' | 'timeout' | 'aborted' | 'closed'

export interface ParleyErrorOptions {
  /** Milliseconds that the server asked to wait before the next try. */
  retryAfterMs?: number
  problem?: Problem
  /** HTTP status of an answer that is no problem of Parley's. */
  status?: number
  cause?: unknown
}

/**
 * What every call of the SDK throws. `code` is the contract's problem code, or says what went wrong on the way:
 * `network` and `timeout` (no answer: what was asked may or may not have happened), `aborted` (by the caller's
 * signal) and `closed` (the client was closed).
 */
export class ParleyError extends Error {
  readonly code: ProblemCode | LocalCode
  /** HTTP status; 0 if there was no answer. */
  readonly status: number
  /** The same call may succeed later. */
  readonly retryable: boolean
  readonly retryAfterMs: number | undefined
  readonly errors: readonly FieldError[]
  readonly requestId: string | undefined
  /** The server's problem details, where it answered. */
  readonly problem: Problem | undefined

  constructor(code: ProblemCode | LocalCode, message: string, options: ParleyErrorOptions = {}) {
    super(message, { cause: options.cause })
    this.name = 'ParleyError'
    this.code = code
    this.problem = options.problem
    this.status = options.problem?.status ?? options.status ?? 0
    this.retryable = options.problem?.retryable ?? (code === 'network' || code === 'timeout')
    this.retryAfterMs = options.retryAfterMs
    this.errors = options.problem?.errors ?? []
    this.requestId = options.problem?.requestId
  }
}

export const isParleyError = (error: unknown): error is ParleyError => error instanceof ParleyError

/** Parley itself says that the resource does not exist, or not for the caller. */
export const isGone = ({ code }: ParleyError): boolean => code === 'not_found' || code === 'forbidden'

export function fromProblem(problem: Problem, retryAfterMs?: number): ParleyError {
  return new ParleyError(problem.code, problem.detail || problem.title, {
    problem,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  })
}

/** Anything thrown, as a ParleyError: whatever is not one already counts as a network failure. */
export function toParleyError(error: unknown): ParleyError {
  if (isParleyError(error)) return error
  const message = error instanceof Error ? error.message : String(error)
  return new ParleyError('network', message, { cause: error })
}
