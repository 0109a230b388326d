import type { Socket } from 'socket.io-client'
import { openSocket } from './socket.ts'
import { until } from './until.ts'

type Fields = Record<string, unknown>

export interface Heard {
  event: string
  payload: Fields
}

export type Listener = Awaited<ReturnType<typeof listen>>

/** A bare socket that remembers all it is told. */
export async function listen(url: string, token: string) {
  const socket: Socket = await openSocket(url, token)
  const heard: Heard[] = []
  socket.onAny((event: string, payload: Fields) => heard.push({ event, payload }))

  const matches = (payload: Fields, fields: Fields) =>
    Object.entries(fields).every(([name, value]) => payload[name] === value)
  const of = (event: string, fields: Fields = {}): Fields[] =>
    heard.filter((one) => one.event === event && matches(one.payload, fields)).map(({ payload }) => payload)

  return {
    socket,
    heard,
    /** Payloads of an event, those with these fields, in the order they came. */
    of,
    /** Waits for the first of them. */
    first: (event: string, fields: Fields = {}, timeoutMs = 10_000): Promise<Fields> =>
      until(() => of(event, fields)[0], { timeoutMs, what: `${event} ${JSON.stringify(fields)}` }),
    /** Sends an event; its acknowledgement, refused or not. */
    ask: (event: string, payload: unknown): Promise<Fields & { ok: boolean; error?: { code: string } }> =>
      socket.timeout(15_000).emitWithAck(event, payload),
    /** Sends an event and gives back its acknowledgement; throws where it is refused. */
    async sure(event: string, payload: unknown): Promise<Fields> {
      const answer = await socket.timeout(15_000).emitWithAck(event, payload)
      if (!answer.ok) throw new Error(`${event} refused: ${answer.error.code}: ${answer.error.detail}`)
      return answer
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
    const { op, index, text: piece = '' } = update as { op: string; index: number; text?: string }
    ops.push(op)
    if (op === 'snapshot') text = piece
    else if (op === 'delta') {
      if (index !== text.length) throw new Error(`a delta at ${index} after ${text.length} letters`)
      text += piece
    } else if (index !== text.length) throw new Error(`${op} at ${index} after ${text.length} letters`)
  }
  return { text, ops }
}
