import {
  type FieldError,
  fieldErrors,
  PROBLEMS,
  type ProblemCode,
  ProblemError,
  problem,
} from '@parley/contract'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import type { HttpServer } from './http-server.ts'

/** Seconds in `Retry-After` if a problem names none. */
const RETRY_AFTER = 1

/** Statuses that Fastify and its plugins use for what a request did wrong. */
const BY_STATUS: Record<number, ProblemCode> = {
  401: 'unauthenticated',
  403: 'forbidden',
  404: 'not_found',
  405: 'method_not_allowed',
  413: 'payload_too_large',
  414: 'not_found',
  415: 'unsupported_media_type',
  429: 'rate_limited',
  503: 'overloaded',
}

const DRIVER_ERRORS = new Set([
  'MongoNetworkError',
  'MongoNetworkTimeoutError',
  'MongoServerSelectionError',
  'MongoOperationTimeoutError',
  'MongoPoolClearedError',
  'MongoPoolClearedOnNetworkError',
  'MongoWaitQueueTimeoutError',
  'MongoNotConnectedError',
  'MongoTopologyClosedError',
  'MongoClientClosedError',
  'PoolClearedError',
  'PoolClearedOnNetworkError',
  'WaitQueueTimeoutError',
  'MaxRetriesPerRequestError',
])
/**
 * Server codes of MongoDB that say: not now. Elections, shutdown, time limits, locks, write conflicts; a cursor that a
 * restart or a kill ended, a snapshot that is too old or too new.
 */
const TRANSIENT_CODES = new Set([
  6, 7, 24, 43, 46, 50, 64, 89, 91, 112, 133, 134, 189, 202, 237, 239, 246, 251, 262, 290, 317, 358, 9001,
  10107, 11600, 11601, 11602, 13435, 13436,
])
const TRANSIENT_LABELS = [
  'RetryableWriteError',
  'TransientTransactionError',
  'UnknownTransactionCommitResult',
]

/** Codes of a socket's own errors, which the MongoDB driver passes on unwrapped if a write failed. */
const SOCKET_ERRORS = new Set([
  'ECONNRESET',
  'EPIPE',
  'ECONNREFUSED',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
])

/** A store or a neighbour that is away for the moment. */
function isTransient(error: Error): boolean {
  if (DRIVER_ERRORS.has(error.name)) return true
  // A bulk write wraps what ended it, and neither its name nor its labels say what that was.
  if ('errorResponse' in error && error.errorResponse instanceof Error)
    return isTransient(error.errorResponse)
  if ('code' in error && typeof error.code === 'string' && SOCKET_ERRORS.has(error.code)) return true
  if ('code' in error && typeof error.code === 'number' && TRANSIENT_CODES.has(error.code)) return true
  if (!('hasErrorLabel' in error) || typeof error.hasErrorLabel !== 'function') return false
  const { hasErrorLabel } = error
  return TRANSIENT_LABELS.some((label) => hasErrorLabel.call(error, label) === true)
}

/** Path parameters that name something: malformed, they name nothing, which is what the answer says. */
const isIdParameter = ({ path }: { path: PropertyKey[] }): boolean => /(^id|Id)$/.test(String(path[0]))

function validationProblem(error: z.ZodError, context: unknown): ProblemError {
  const issues = context === 'params' ? error.issues.filter((issue) => !isIdParameter(issue)) : error.issues
  if (issues.length === 0) return problem('not_found')
  const errors: FieldError[] = fieldErrors(new z.ZodError(issues))
  const first = errors[0]
  const detail = first ? `${first.pointer || '/'}: ${first.detail}` : PROBLEMS.validation_failed.title
  return problem('validation_failed', { detail: detail.slice(0, 500), errors })
}

/** The problem that answers whatever was thrown. Anything unexpected is `internal` and reveals nothing. */
export function toProblemError(error: unknown): ProblemError {
  if (error instanceof ProblemError) return error
  if (!(error instanceof Error)) return problem('internal', { cause: error })
  if (error instanceof z.ZodError && 'validationContext' in error) {
    return validationProblem(error, error.validationContext)
  }
  if (isTransient(error)) return problem('unavailable', { retryAfter: RETRY_AFTER, cause: error })
  if ('statusCode' in error && typeof error.statusCode === 'number') {
    const code = BY_STATUS[error.statusCode]
    if (code) return problem(code, { cause: error })
    if (error.statusCode >= 400 && error.statusCode < 500) return problem('bad_request', { cause: error })
  }
  return problem('internal', { cause: error })
}

const pathOf = (url: string): string => {
  const query = url.indexOf('?')
  return query < 0 ? url : url.slice(0, query)
}

export function sendProblem(error: ProblemError, request: FastifyRequest, reply: FastifyReply): void {
  if (error.code === 'internal') {
    request.log.error(
      { requestId: request.id, route: request.routeOptions?.url, err: error.cause ?? error },
      'request failed',
    )
  }
  if (error.status === 401) reply.header('www-authenticate', 'Bearer')
  if (error.status === 503 || error.status === 429) {
    if (!reply.hasHeader('retry-after'))
      reply.header('retry-after', Math.ceil(error.retryAfter ?? RETRY_AFTER))
  }
  reply
    .code(error.status)
    .header('x-request-id', request.id)
    .type('application/problem+json')
    .send(JSON.stringify(error.toProblem(request.id, pathOf(request.url))))
}

/** A route's path as an expression over a request's path. */
const pattern = (url: string): RegExp =>
  new RegExp(
    `^${url
      .split('/')
      .map((part) =>
        part.startsWith(':') ? '[^/]+' : part === '*' ? '.*' : part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'),
      )
      .join('/')}$`,
  )

/** Answers every error as a problem, and a known path with a wrong method by 405. Register it before any route. */
export function problemErrors(app: HttpServer): void {
  const routes = new Map<string, { path: RegExp; methods: Set<string> }>()
  app.addHook('onRoute', ({ url, method }) => {
    if (url === '*') return // the preflight of CORS makes no path known
    const route = routes.get(url) ?? { path: pattern(url), methods: new Set<string>() }
    for (const name of Array.isArray(method) ? method : [method]) route.methods.add(name)
    routes.set(url, route)
  })
  app.setErrorHandler((error, request, reply) => {
    // Fastify would close the connection on a body that it refuses, and a client that is still sending would see that
    // in place of the answer. Kept open, what still comes is dropped, for as long as a request may take.
    reply.removeHeader('connection')
    sendProblem(toProblemError(error), request, reply)
  })
  app.setNotFoundHandler((request, reply) => {
    const path = pathOf(request.url)
    // A path that is named as it stands is not an id.
    const named = routes.get(path)
    const matching = named ? [named] : [...routes.values()].filter((route) => route.path.test(path))
    const methods = [...new Set(matching.flatMap((route) => [...route.methods]))].sort().join(', ')
    if (methods === '') throw problem('not_found')
    reply.header('allow', methods)
    throw problem('method_not_allowed', { detail: `Allowed here: ${methods}` })
  })
}
