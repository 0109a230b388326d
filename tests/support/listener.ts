import { setTimeout as delay } from 'node:timers/promises'
import {
  CLIENT_EVENTS,
  type ClientEvent,
  type ClientPayload,
  type ClientResult,
  type Problem,
  SERVER_EVENTS,
  type ServerEvent,
  type ServerPayload,
} from '@parley/contract'
import { openSocket } from './socket.ts'
import { until } from './until.ts'

export interface Heard {
  event: ServerEvent
  payload: ServerPayload<ServerEvent>
}

export type Listener = Awaited<ReturnType<typeof listen>>

const isServerEvent = (event: string): event is ServerEvent => Object.hasOwn(SERVER_EVENTS, event)

/** As clients do, comes back when it is told to where the gateway has too much to do just now; up to ten times. */
async function openWhenAdmitted(url: string, token: string, hear: (event: string, payload: unknown) => void) {
  for (let tries = 1; ; tries++) {
    try {
      return await openSocket(url, token, { prepare: (opened) => opened.onAny(hear) })
    } catch (error) {
      const { data } = error as { data?: { code?: string; reconnectAfterMs?: number } }
      if (data?.code !== 'overloaded' || tries === 10) throw error
      await delay(data.reconnectAfterMs)
    }
  }
}

/** A bare socket that remembers all it is told, and throws at what the contract does not know. */
export async function listen(url: string, token: string) {
  const heard: Heard[] = []
  const hear = (event: string, payload: unknown) => {
    if (!isServerEvent(event)) throw new Error(`an event that no client knows: ${event}`)
    heard.push({ event, payload: SERVER_EVENTS[event].payload.parse(payload) })
  }
  const socket = await openWhenAdmitted(url, token, hear)

  const matches = (payload: object, fields: object) =>
    Object.entries(fields).every(([name, value]) => Reflect.get(payload, name) === value)
  const of = <E extends ServerEvent>(event: E, fields: Partial<ServerPayload<E>> = {}): ServerPayload<E>[] =>
    heard
      .filter((one) => one.event === event && matches(one.payload, fields))
      .map(({ payload }) => payload as ServerPayload<E>)

  return {
    socket,
    heard,
    /** Payloads of an event, those with these fields, in the order they came. */
    of,
    /** Waits for the first of them. */
    first: <E extends ServerEvent>(
      event: E,
      fields: Partial<ServerPayload<E>> = {},
      timeoutMs = 10_000,
    ): Promise<ServerPayload<E>> =>
      until(() => of(event, fields)[0], { timeoutMs, what: `${event} ${JSON.stringify(fields)}` }),
    /** Sends an event, sound or not; its acknowledgement, refused or not. */
    ask: (
      event: string,
      payload: unknown,
    ): Promise<Record<string, unknown> & { ok: boolean; error?: Problem }> =>
      socket.timeout(15_000).emitWithAck(event, payload),
    /** Sends an event and gives back what its acknowledgement says; throws where it is refused. */
    async sure<E extends ClientEvent>(event: E, payload: ClientPayload<E>): Promise<ClientResult<E>> {
      const { ok, ...answer } = await socket.timeout(15_000).emitWithAck(event, payload)
      if (!ok) throw new Error(`${event} refused: ${answer.error.code}: ${answer.error.detail}`)
      return CLIENT_EVENTS[event].result.parse(answer) as ClientResult<E>
    },
    /** As when the network goes: no goodbye. */
    cut: () => socket.io.engine.close(),
    close: () => socket.disconnect(),
  }
}

/** The text of a streamed message as one listener saw it grow; throws where a piece doesn't fit. */
export function streamed(listener: Pick<Listener, 'of'>, messageId: string): { text: string; ops: string[] } {
  let text = ''
  const ops: string[] = []
  for (const update of listener.of('message:stream', { messageId })) {
    const { op, index, text: piece = '' } = update
    ops.push(op)
    if (op === 'snapshot') text = piece
    else if (op === 'delta') {
      if (index !== text.length) throw new Error(`a delta at ${index} after ${text.length} letters`)
      text += piece
    } else if (index !== text.length) throw new Error(`${op} at ${index} after ${text.length} letters`)
  }
  return { text, ops }
}
