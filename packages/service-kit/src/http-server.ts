import { isUtf8 } from 'node:buffer'
import { randomUUID } from 'node:crypto'
import {
  type IncomingHttpHeaders,
  type IncomingMessage,
  maxHeaderSize,
  type Server,
  type ServerResponse,
  STATUS_CODES,
} from 'node:http'
import { LIMITS, type ProblemError, problem } from '@parley/contract'
import {
  type ConnectionError,
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  type FastifySchemaCompiler,
  fastify,
  LogController,
} from 'fastify'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import type { z } from 'zod'
import type { Logger } from './logging.ts'
import { sendProblem, toProblemError } from './problem-errors.ts'

/** A Fastify whose routes take and give zod schemas. */
export type HttpServer = FastifyInstance<
  Server,
  IncomingMessage,
  ServerResponse,
  FastifyBaseLogger,
  ZodTypeProvider
>

const REQUEST_ID = /^[\w.:-]{1,128}$/
/** 128 characters of an opaque id, each up to nine once percent-encoded. */
const MAX_PARAMETER_LENGTH = LIMITS.opaque * 9

const requestId = ({ headers }: IncomingMessage): string => {
  const given = headers['x-request-id']
  return typeof given === 'string' && REQUEST_ID.test(given) ? given : randomUUID()
}

const validator: FastifySchemaCompiler<z.ZodType> = ({ schema }) => {
  return (data: unknown) => {
    const result = schema.safeParse(data)
    return result.success ? { value: result.data } : { error: result.error }
  }
}

/** The answer to what HTTP's own parser refuses; the connection ends with it. */
function refuseUnparsed({ code }: ConnectionError): string {
  const refused = unparsedProblem(code)
  const id = randomUUID()
  const body = JSON.stringify(refused.toProblem(id, ''))
  return [
    `HTTP/1.1 ${refused.status} ${STATUS_CODES[refused.status]}`,
    'Content-Type: application/problem+json',
    `Content-Length: ${Buffer.byteLength(body)}`,
    `X-Request-Id: ${id}`,
    ...(refused.retryAfter === undefined ? [] : [`Retry-After: ${refused.retryAfter}`]),
    'Connection: close',
    '',
    body,
  ].join('\r\n')
}

function unparsedProblem(code: string): ProblemError {
  switch (code) {
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return problem('unavailable', { detail: 'The request took too long to arrive', retryAfter: 1 })
    case 'HPE_HEADER_OVERFLOW':
      return problem('bad_request', { detail: `The path and the headers are over ${maxHeaderSize} bytes` })
    default:
      return problem('bad_request', { detail: 'The request is not HTTP' })
  }
}

/**
 * An HTTP server as all services have it: bounded in every direction, zod on the way in, plain `JSON.stringify` on the
 * way out (answers are checked against their schemas by the tests, not at run time), a request id on every answer.
 */
export function createHttpServer({ logger }: { logger: Logger }): HttpServer {
  const app = fastify({
    loggerInstance: logger as FastifyBaseLogger,
    // A line per request costs more than most requests; the URL may hold a search text.
    logController: new LogController({ disableRequestLogging: true }),
    // Nor is a logger made for each (15 µs): what is logged of a request names it itself.
    childLoggerFactory: (parent) => parent,
    genReqId: requestId,
    requestIdHeader: false,
    bodyLimit: LIMITS.requestBytes,
    requestTimeout: 30_000,
    connectionTimeout: 60_000,
    keepAliveTimeout: 72_000,
    forceCloseConnections: 'idle',
    return503OnClosing: false,
    routerOptions: { maxParamLength: MAX_PARAMETER_LENGTH },
    frameworkErrors: (error: Error, request: FastifyRequest, reply: FastifyReply) => {
      sendProblem(toProblemError(error), request, reply)
    },
    clientErrorHandler: (error, socket) => {
      if (socket.writable) socket.end(refuseUnparsed(error))
      else socket.destroy()
    },
  })
  app.setValidatorCompiler(validator)
  app.setSerializerCompiler(() => (data) => JSON.stringify(data))
  app.addHook('onRequest', (request, reply, done) => {
    reply.header('x-request-id', request.id)
    done()
  })
  // What is idle when the end begins is closed. What is answered later would stay open, kept alive, and hold the end
  // up.
  let ending = false
  app.addHook('preClose', (done) => {
    ending = true
    done()
  })
  app.addHook('onSend', (_request, reply, _payload, done) => {
    if (ending) reply.header('connection', 'close')
    done()
  })
  // Decoding would replace what is no UTF-8 by something else, and that would be stored. JSON.parse makes `__proto__`
  // an ordinary own key, which the schemas then refuse by name and place. An empty body is no body, whatever its type
  // says: clients send the header out of habit.
  app.removeContentTypeParser(['application/json', 'text/plain'])
  app.addContentTypeParser<Buffer>('application/json', { parseAs: 'buffer' }, ({ headers }, body, done) => {
    if (body.length === 0) {
      done(null, undefined)
      return
    }
    if (!isPlainUtf8(headers)) {
      done(problem('unsupported_media_type', { detail: 'The body must be UTF-8, and not compressed' }))
      return
    }
    try {
      if (!isUtf8(body)) throw new SyntaxError('not UTF-8')
      done(null, JSON.parse(body.toString()))
    } catch (error) {
      done(problem('bad_request', { detail: 'The body is not JSON', cause: error }))
    }
  })
  return app.withTypeProvider<ZodTypeProvider>()
}

/** By what its headers say. */
function isPlainUtf8({
  'content-type': type = '',
  'content-encoding': encoding = 'identity',
}: IncomingHttpHeaders): boolean {
  const charset = /charset\s*=\s*"?([^";\s]+)/i.exec(type)?.[1] ?? 'utf-8'
  return /^(utf-?8|us-ascii)$/i.test(charset) && encoding.toLowerCase() === 'identity'
}
