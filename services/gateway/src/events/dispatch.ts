import { randomUUID } from 'node:crypto'
import { type Problem, ProblemError, problem } from '@parley/contract'
import { describeError, type Logger } from '@parley/service-kit'
import type { Outbound } from '../connection/outbound.ts'
import type { ChatSocket } from '../sockets.ts'
import type { ClientEventHandler } from './define-event.ts'

/** Events of one socket that may wait or run at once. */
const MOST_PENDING = 1_000
/** What an event takes from the socket's allowance, where that is not 1. */
const COSTS = new Map([
  ['conversation:join', 2],
  ['auth:refresh', 5],
  ['message:typing', 0.5],
])
/** A letter of a streamed answer takes next to nothing. */
const DELTA_COST = 0.05

const isDelta = (payload: unknown): boolean =>
  typeof payload === 'object' && payload !== null && 'op' in payload && payload.op === 'delta'
const costOf = (event: string, payload: unknown): number =>
  event === 'message:stream' && isDelta(payload) ? DELTA_COST : (COSTS.get(event) ?? 1)

type Answer = (answer: object) => void
const isAnswer = (value: unknown): value is Answer => typeof value === 'function'

/** The id in a field of the payload, if there is one. */
function idIn(payload: unknown, field: 'conversationId' | 'messageId'): string | undefined {
  const id: unknown =
    typeof payload === 'object' && payload !== null ? Reflect.get(payload, field) : undefined
  return typeof id === 'string' ? id.toLowerCase() : undefined
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
  /** Of an answer that is streamed through this gateway. */
  conversationOf(messageId: string): string | undefined
  onEvent?: (event: string, outcome: 'ok' | Problem['code']) => void
}): Dispatch {
  const { outbound, logger, conversationOf, onEvent } = options
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

  /**
   * What an event waits for, and what waits for it: events of one conversation are handled in the order they came.
   * Letters of a streamed answer go by their message alone: they are told at once, and a message on its way to the
   * store would hold them up. The answer's end goes by both: after its letters, and before what is sent behind it. Of
   * an answer that is not open here nobody knows the conversation. New tokens go by themselves: the last one stays.
   */
  function lanesOf(event: string, payload: unknown): string[] {
    if (event === 'auth:refresh') return [event]
    const conversationId = idIn(payload, 'conversationId')
    if (conversationId !== undefined) return [conversationId]
    const messageId = idIn(payload, 'messageId')
    if (messageId === undefined) return []
    const conversation = isDelta(payload) ? undefined : conversationOf(messageId)
    return conversation === undefined ? [messageId] : [messageId, conversation]
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
    const [name, ...rest] = args
    // A number passes the parser.
    const event = String(name)
    const last = rest.at(-1)
    // Asked at each step, not only when the event arrives: what a client has asked for may be more than it reads.
    const mayAnswer = () => outbound.mayAnswer(socket)
    const answer: Answer | null = isAnswer(last) ? (body) => mayAnswer() && last(body) : null
    const given = answer ? rest.slice(0, -1) : rest
    const [payload] = given
    if (!mayAnswer()) return
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
    session.lanes ??= new Map()
    const { lanes } = session
    const keys = lanesOf(event, payload)
    const before = keys.flatMap((key) => lanes.get(key) ?? [])
    const start = () => run(handler, socket, payload, answer)
    const begun =
      before.length === 0 ? start() : Promise.all(before).then(() => (mayAnswer() ? start() : undefined))
    const running = begun.finally(() => {
      session.pending--
      for (const key of keys) if (lanes.get(key) === running) lanes.delete(key)
      if (lanes.size === 0 && session.lanes === lanes) session.lanes = null
    })
    for (const key of keys) lanes.set(key, running)
  }
}
