import { randomUUID } from 'node:crypto'
import { LIMITS, type Problem, ProblemError, problem } from '@parley/contract'
import type { Logger } from '@parley/service-kit'
import type { Outbound } from '../connection/outbound.ts'
import type { ChatSocket } from '../sockets.ts'
import { type ClientEventHandler, fieldOf, type Task } from './define-event.ts'
import { enter } from './lanes.ts'
import { weightOf } from './weight.ts'

/** Events of one socket that may wait or run at once, and bytes that they may take; one may take more by itself. */
const MAX_PENDING = 1_000
const MAX_PENDING_BYTES = 4 * LIMITS.requestBytes

type Ack = (body: object) => void
const isAck = (value: unknown): value is Ack => typeof value === 'function'

const tooMany = () => problem('rate_limited', { detail: 'Too many events on this socket' })

function clientMessageIdOf(payload: unknown): string | undefined {
  const id = fieldOf(payload, 'clientMessageId')
  return typeof id === 'string' && id.length <= 128 ? id : undefined
}

/** An event as it came, without its payload, which is not kept once it is parsed. */
interface Request {
  socket: ChatSocket
  requestId: string
  event: string
  clientMessageId: string | undefined
  ack: Ack | null
}

export type Dispatch = (socket: ChatSocket, args: unknown[]) => void

/** Handles every event of a socket: limits, order, acknowledgement, errors. */
export function createDispatch(options: {
  handlers: readonly ClientEventHandler[]
  outbound: Outbound
  logger: Logger
  /** Whether the socket's token was revoked. */
  isRevoked(socket: ChatSocket): boolean
  onEvent?: (event: string, outcome: 'ok' | Problem['code']) => void
}): Dispatch {
  const { outbound, logger, isRevoked, onEvent } = options
  const handlers = new Map<string, ClientEventHandler>(options.handlers.map((one) => [one.event, one]))

  function fail({ socket, requestId, event, clientMessageId, ack }: Request, error: unknown): void {
    const known = error instanceof ProblemError ? error : problem('internal', { cause: error })
    if (known.code === 'internal') {
      logger.error({ requestId, event, err: known.cause ?? known }, 'event failed')
    }
    onEvent?.(handlers.has(event) ? event : 'unknown', known.code)
    const body = known.toProblem(requestId, handlers.has(event) ? event : '')
    if (ack) {
      ack({ ok: false, error: body })
      return
    }
    outbound.emit(socket, 'message:error', {
      ...body,
      event: event.slice(0, 128),
      ...(clientMessageId === undefined ? {} : { clientMessageId }),
    })
  }

  async function run(request: Request, task: Task): Promise<void> {
    const { socket, requestId, event, ack } = request
    // Also here, not only when the event arrived: while it waited, the client may have stopped reading.
    if (!outbound.mayAck(socket)) return
    let replied = false
    const reply = <R extends object>(result: R): R => {
      if (!replied) ack?.({ ok: true, ...result })
      replied = true
      return result
    }
    try {
      // The token may have been revoked while the event waited.
      if (isRevoked(socket)) throw problem('unauthenticated')
      reply(await task.run(socket, { requestId, reply }))
      onEvent?.(event, 'ok')
    } catch (error) {
      fail(request, error)
    }
  }

  const ackBy =
    (socket: ChatSocket, send: Ack): Ack =>
    (body) =>
      outbound.mayAck(socket) && send(body)

  /** @throws ProblemError rate_limited, validation_failed */
  function admit(socket: ChatSocket, event: string, payloads: readonly unknown[]) {
    const { session } = socket.data
    const [payload] = payloads
    const handler = handlers.get(event)
    const cost = handler?.cost(payload) ?? 1
    if (!session.bucket.take(cost) || session.pending >= MAX_PENDING) throw tooMany()
    if (!handler) throw problem('validation_failed', { detail: 'There is no such event' })
    if (payloads.length > 1) throw problem('validation_failed', { detail: 'An event takes one payload' })
    const task = handler.read(payload)
    const weight = weightOf(task.payload, MAX_PENDING_BYTES)
    if (session.pending > 0 && session.pendingBytes + weight > MAX_PENDING_BYTES) throw tooMany()
    return { task, weight }
  }

  return (socket, args) => {
    if (!outbound.mayAck(socket)) return
    const [name, ...rest] = args
    const last = rest.at(-1)
    const ack = isAck(last) ? ackBy(socket, last) : null
    const payloads = ack ? rest.slice(0, -1) : rest
    const request: Request = {
      socket,
      requestId: randomUUID(),
      // Socket.IO's parser also takes a number for a name.
      event: String(name),
      clientMessageId: clientMessageIdOf(payloads[0]),
      ack,
    }
    try {
      const { task, weight } = admit(socket, request.event, payloads)
      enter(socket.data.session, task.lanes, weight, () => run(request, task))
    } catch (error) {
      fail(request, error)
    }
  }
}
