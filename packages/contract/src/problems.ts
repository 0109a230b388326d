import { z } from 'zod'

/** Every error the servers answer with: its HTTP status, title, and whether the same request may succeed later. */
export const PROBLEMS = {
  bad_request: { status: 400, title: 'The request could not be read', retryable: false },
  invalid_cursor: { status: 400, title: 'The cursor is broken or belongs to another list', retryable: false },
  unauthenticated: { status: 401, title: 'A valid token is required', retryable: false },
  token_expired: { status: 401, title: 'The token has expired', retryable: false },
  forbidden: { status: 403, title: 'Not allowed', retryable: false },
  role_not_allowed: { status: 403, title: 'You may not use this role or field', retryable: false },
  origin_not_allowed: { status: 403, title: 'The origin is not allowed', retryable: false },
  not_found: { status: 404, title: 'Not found', retryable: false },
  method_not_allowed: { status: 405, title: 'The method is not allowed here', retryable: false },
  conversation_not_active: { status: 409, title: 'The conversation is not active', retryable: false },
  last_owner: { status: 409, title: 'The last owner cannot leave or step down', retryable: false },
  conflict: { status: 409, title: 'The request conflicts with the current state', retryable: false },
  agent_loop: { status: 409, title: 'Agents wait until a person writes', retryable: false },
  payload_too_large: { status: 413, title: 'The payload is too large', retryable: false },
  unsupported_media_type: { status: 415, title: 'The media type is not supported', retryable: false },
  validation_failed: { status: 422, title: 'The request is not valid', retryable: false },
  idempotency_mismatch: {
    status: 422,
    title: 'The idempotency key was already used with a different payload',
    retryable: false,
  },
  invalid_attachment: { status: 422, title: 'An attachment reference is not valid', retryable: false },
  rate_limited: { status: 429, title: 'Too many requests', retryable: true },
  internal: { status: 500, title: 'Internal error', retryable: true },
  unavailable: { status: 503, title: 'Temporarily unavailable', retryable: true },
  overloaded: { status: 503, title: 'Too busy', retryable: true },
} as const satisfies Record<string, { status: number; title: string; retryable: boolean }>

export type ProblemCode = keyof typeof PROBLEMS
export const PROBLEM_CODES = Object.keys(PROBLEMS) as [ProblemCode, ...ProblemCode[]]

export const FieldError = z.strictObject({
  pointer: z.string().meta({ description: 'JSON pointer (RFC 6901) into the body or query' }),
  detail: z.string(),
})
export type FieldError = z.infer<typeof FieldError>

/** Problem details (RFC 9457), the body of every error. */
export const Problem = z
  .strictObject({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    detail: z.string(),
    instance: z.string(),
    code: z.enum(PROBLEM_CODES),
    requestId: z.string(),
    retryable: z.boolean(),
    errors: z.array(FieldError).optional(),
  })
  .meta({ id: 'Problem' })
export type Problem = z.infer<typeof Problem>

export interface ProblemOptions {
  /** What happened in this case; without internals. Default: the title. */
  detail?: string
  errors?: FieldError[]
  /** Seconds, for `Retry-After`. */
  retryAfter?: number
  cause?: unknown
}

/** An error that is an answer. Its code decides status, title and `retryable` by {@link PROBLEMS}. */
export class ProblemError extends Error {
  readonly code: ProblemCode
  readonly status: number
  readonly retryable: boolean
  readonly errors: FieldError[] | undefined
  readonly retryAfter: number | undefined

  constructor(code: ProblemCode, options: ProblemOptions = {}) {
    super(options.detail ?? PROBLEMS[code].title, { cause: options.cause })
    this.name = 'ProblemError'
    this.code = code
    this.status = PROBLEMS[code].status
    this.retryable = PROBLEMS[code].retryable
    this.errors = options.errors
    this.retryAfter = options.retryAfter
  }

  toProblem(requestId: string, instance: string): Problem {
    const { title } = PROBLEMS[this.code]
    const problem: Problem = {
      type: `/docs/problems#${this.code}`,
      title,
      status: this.status,
      detail: this.message,
      instance,
      code: this.code,
      requestId,
      retryable: this.retryable,
    }
    if (this.errors) problem.errors = this.errors
    return problem
  }
}

/** `throw problem('not_found')` */
export const problem = (code: ProblemCode, options?: ProblemOptions): ProblemError =>
  new ProblemError(code, options)

/** A path of keys as a JSON pointer (RFC 6901). */
const jsonPointer = (path: readonly PropertyKey[]): string =>
  path.map((key) => `/${String(key).replaceAll('~', '~0').replaceAll('/', '~1')}`).join('')

/** Most faults that a problem names. */
const MAX_FIELD_ERRORS = 50

/** Zod's issues as `errors` of a problem, at most 50; an unknown field is named at its own pointer. */
export function fieldErrors(error: z.ZodError): FieldError[] {
  return error.issues
    .slice(0, MAX_FIELD_ERRORS)
    .flatMap((issue) =>
      issue.code === 'unrecognized_keys'
        ? issue.keys
            .slice(0, MAX_FIELD_ERRORS)
            .map((key) => ({ pointer: jsonPointer([...issue.path, key]), detail: 'unknown field' }))
        : [{ pointer: jsonPointer(issue.path), detail: issue.message }],
    )
    .slice(0, MAX_FIELD_ERRORS)
}
