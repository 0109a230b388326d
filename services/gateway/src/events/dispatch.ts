import { randomUUID } from 'node:crypto'
import { type Problem, ProblemError, problem } from '@parley/contract'
import { describeError, type Logger } from '@parley/service-kit'
import type { Outbound } from '../connection/outbound.ts'
import type { ChatSocket } from '../sockets.ts'
import type { ClientEventHandler } from './define-event.ts'

/** Events of one socket that may wait or run at once. */
const MOST_PENDING = 1_000
/** What an event takes from the socket's allowance, where that is not 1. */
const COSTS: Record<string, number> = {
  'conversation:join': 2,
  'auth:refresh': 5,
  'message:typing': 0.5,
}
/** A letter of a streamed answer takes next to nothing. */
const DELTA_COST = 0.05

function costOf(event: string, payload: unknown): number {
  const isDelta =
    event === 'message:stream' &&
    typeof payload === 'object' &&
    payload !== null &&
    'op' in payload &&
    payload.op === 'delta'
  return isDelta ? DELTA_COST : (COSTS[event] ?? 1)
}

type Answer = (answer: object) => void
const isAnswer = (value: unknown): value is Answer => typeof value === 'function'

/** Events of one conversation, or of one streamed message, are handled in the order they came. */
function laneOf(payload: unknown): string | null {
  if (typeof payload !== 'object' || payload === null) return null
  if ('conversationId' in payload && typeof payload.conversationId === 'string') {
    return payload.conversationId.toLowerCase()
  }
  return 'messageId' in payload && typeof payload.messageId === 'string' ? payload.messageId : null
}

const clientMessageIdOf = (payload: unknown): string | undefined =>
  typeof payload === 'object' &&
  payload !== null &&
  'clientMessageId' in payload &&
  typeof payload.clientMessageId === 'string' &&
  payload.clientMessageId.length <= 128
    ? payload.clientMessageId
    : undefined

export type Dispatch = (socket: ChatSocket, args: unknown[]) => void

/** Takes every event of a socket: limits, order, answer, errors. */
export function createDispatch(options: {
  handlers: readonly ClientEventHandler[]
  outbound: Outbound
  logger: Logger
  onEvent?: (event: string, outcome: 'ok' | Problem['code']) => void
}): Dispatch {
  const { outbound, logger, onEvent } = options
  const handlers = new Map<string, ClientEventHandler>(options.handlers.map((one) => [one.event, one]))

  function fail(
    socket: ChatSocket,
    event: string,
    payload: unknown,
    answer: Answer | null,
    error: unknown,
    requestId: string = randomUUID(),
  ) {
    const known = error instanceof ProblemError ? error : problem('internal', { cause: error })
    if (known.code === 'internal') {
      logger.error({ requestId, event, err: describeError(known.cause ?? known) }, 'event failed')
    }
    onEvent?.(handlers.has(event) ? event : 'unknown', known.code)
    const body = known.toProblem(requestId, handlers.has(event) ? event : '')
    if (answer) {
      answer({ ok: false, error: body })
      return
    }
    const clientMessageId = clientMessageIdOf(payload)
    outbound.emit(socket, 'message:error', {
      ...body,
      event: event.slice(0, 128),
      ...(clientMessageId === undefined ? {} : { clientMessageId }),
    })
  }

  async function run(
    handler: ClientEventHandler,
    socket: ChatSocket,
    payload: unknown,
    answer: Answer | null,
  ) {
    const requestId = randomUUID()
    let replied = false
    const reply = <R extends object>(result: R): R => {
      if (!replied) answer?.({ ok: true, ...result })
      replied = true
      return result
    }
    try {
      reply(await handler.handle(socket, payload, { requestId, reply }))
      onEvent?.(handler.event, 'ok')
    } catch (error) {
      fail(socket, handler.event, payload, answer, error, requestId)
    }
  }

  return (socket, args) => {
    const { session } = socket.data
    const [event, ...rest] = args
    const last = rest.at(-1)
    // Asked at each step, not only when the event arrives: what a client has asked for may be more than it reads.
    const mayAnswer = () => outbound.mayAnswer(socket)
    const answer: Answer | null = isAnswer(last) ? (body) => mayAnswer() && last(body) : null
    const given = answer ? rest.slice(0, -1) : rest
    const [payload] = given
    if (typeof event !== 'string' || !mayAnswer()) return
    const handler = handlers.get(event)
    const refuse = (error: ProblemError) => fail(socket, event, payload, answer, error)
    if (!session.bucket.take(costOf(event, payload)) || session.pending >= MOST_PENDING) {
      refuse(problem('rate_limited', { detail: 'Too many events on this socket' }))
      return
    }
    if (!handler) {
      refuse(problem('validation_failed', { detail: 'There is no such event' }))
      return
    }
    if (given.length > 1) {
      refuse(problem('validation_failed', { detail: 'An event takes one payload' }))
      return
    }
    session.pending++
    const lane = laneOf(payload)
    const before = lane === null ? undefined : session.lanes?.get(lane)
    const start = () => run(handler, socket, payload, answer)
    const running = (before ? before.then(() => (mayAnswer() ? start() : undefined)) : start()).finally(
      () => {
        session.pending--
        if (lane === null || session.lanes?.get(lane) !== running) return
        session.lanes.delete(lane)
        if (session.lanes.size === 0) session.lanes = null
      },
    )
    if (lane !== null) {
      session.lanes ??= new Map()
      session.lanes.set(lane, running)
    }
  }
}
