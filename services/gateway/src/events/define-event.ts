import { CLIENT_EVENTS, type ClientEvent, type ClientResult, fieldErrors, problem } from '@parley/contract'
import type { z } from 'zod'
import type { Services } from '../services.ts'
import type { ChatSocket } from '../sockets.ts'

export interface EventContext {
  /** Names this event in logs and in the calls that it leads to. */
  requestId: string
  /** Acknowledges now, before the handler ends; for what has to follow in the same turn. Gives back the result. */
  reply<R extends object>(result: R): R
}

/** An event whose payload is valid. */
export interface Task {
  /** As its schema has it: all that is kept of what came. */
  payload: unknown
  /** Does what the event asks for, gives what its acknowledgement adds to `ok: true`. */
  run(socket: ChatSocket, context: EventContext): Promise<object>
}

export interface ClientEventHandler {
  event: ClientEvent
  /** @throws ProblemError validation_failed */
  read(payload: unknown): Task
}

type Payload<E extends ClientEvent> = z.output<(typeof CLIENT_EVENTS)[E]['payload']>
const events: { [E in ClientEvent]: { payload: z.ZodType<Payload<E>> } } = CLIENT_EVENTS

/** A client event: its name, which says what it takes and gives, and what it does with the gateway's services. */
export function defineEvent<E extends ClientEvent>(
  event: E,
  create: (
    services: Services,
  ) => (
    socket: ChatSocket,
    payload: Payload<E>,
    context: EventContext,
  ) => Promise<ClientResult<E>> | ClientResult<E>,
): (services: Services) => ClientEventHandler {
  const schema = events[event].payload
  return (services) => {
    const handle = create(services)
    return {
      event,
      read(given) {
        const payload = valid(schema, given)
        return { payload, run: async (socket, context) => handle(socket, payload, context) }
      },
    }
  }
}

function valid<S extends z.ZodType>(schema: S, payload: unknown): z.output<S> {
  const result = schema.safeParse(payload)
  if (result.success) return result.data
  const errors = fieldErrors(result.error)
  const [first] = errors
  const detail = first ? `${first.pointer || '/'}: ${first.detail}` : 'The payload is not valid'
  throw problem('validation_failed', { detail: detail.slice(0, 500), errors })
}
