import { CLIENT_EVENTS, type ClientEvent, type ClientResult, fieldErrors, problem } from '@parley/contract'
import type { z } from 'zod'
import type { Services } from '../services.ts'
import type { ChatSocket } from '../sockets.ts'

export interface EventContext {
  /** Names this event in logs, in its refusal, and in the calls that it makes with the caller's own token. */
  requestId: string
  /** Acknowledges now, before the handler ends, for what has to follow in the same turn. Returns the result. */
  reply<R extends object>(result: R): R
}

/** An event whose payload is valid. */
export interface Task {
  /** The payload as parsed by its schema: all that is kept of what came. */
  payload: unknown
  /** The queues that it waits in: in each, events run in the order they came. */
  lanes: readonly string[]
  /** Does what the event asks for; returns what its acknowledgement adds to `ok: true`. */
  run(socket: ChatSocket, context: EventContext): Promise<object>
}

export interface ClientEventHandler {
  event: ClientEvent
  /** What one with this payload, valid or not, takes from the socket's allowance. */
  cost(payload: unknown): number
  /** @throws ProblemError validation_failed */
  read(payload: unknown): Task
}

type Payload<E extends ClientEvent> = z.output<(typeof CLIENT_EVENTS)[E]['payload']>
const events: { [E in ClientEvent]: { payload: z.ZodType<Payload<E>> } } = CLIENT_EVENTS

interface EventOptions<E extends ClientEvent> {
  /** What it takes from the socket's allowance, if that is not 1. */
  cost?: number | ((payload: unknown) => number)
  /** The queues that it waits in, if other than its conversation's. */
  lanes?(payload: Payload<E>, services: Services): readonly string[]
}

/** A client event: its name, which determines its payload and acknowledgement, and its handler. */
export function defineEvent<E extends ClientEvent>(
  event: E,
  create: (
    services: Services,
  ) => (
    socket: ChatSocket,
    payload: Payload<E>,
    context: EventContext,
  ) => Promise<ClientResult<E>> | ClientResult<E>,
  { cost = 1, lanes = conversationLane }: EventOptions<E> = {},
): (services: Services) => ClientEventHandler {
  const schema = events[event].payload
  return (services) => {
    const handle = create(services)
    return {
      event,
      cost: (payload) => (typeof cost === 'number' ? cost : cost(payload)),
      read(given) {
        const payload = valid(schema, given)
        return {
          payload,
          lanes: lanes(payload, services),
          run: async (socket, context) => handle(socket, payload, context),
        }
      },
    }
  }
}

/** A field of a payload that is not known to be valid. */
export const fieldOf = (payload: unknown, name: string): unknown =>
  typeof payload === 'object' && payload !== null ? Reflect.get(payload, name) : undefined

function conversationLane(payload: unknown): string[] {
  const id = fieldOf(payload, 'conversationId')
  return typeof id === 'string' ? [id] : []
}

function valid<S extends z.ZodType>(schema: S, payload: unknown): z.output<S> {
  const result = schema.safeParse(payload)
  if (result.success) return result.data
  const errors = fieldErrors(result.error)
  const [first] = errors
  const detail = first ? `${first.pointer || '/'}: ${first.detail}` : 'The payload is not valid'
  throw problem('validation_failed', { detail: detail.slice(0, 500), errors })
}
