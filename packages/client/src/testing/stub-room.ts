import type { Connection, ConnectionEvents } from '../connection.ts'
import { createEmitter } from '../emitter.ts'
import { createHttp } from '../http.ts'
import { createRest } from '../rest.ts'
import { createRoom } from '../room.ts'
import { createSender } from '../sender.ts'
import { createTokenSource } from '../tokens.ts'
import { createWorld } from './fake-server.ts'

/** A room on a connection that is always there, and on which `answer` says what comes of each request. */
export function stubRoom(answer: (event: string, payload: object, signal?: AbortSignal) => Promise<unknown>) {
  const world = createWorld()
  const closed = new AbortController().signal
  const connection: Connection = {
    state: 'connected',
    events: createEmitter<ConnectionEvents>(),
    connect: () => Promise.resolve(),
    request: (event, payload, { signal } = {}) => answer(event, payload, signal) as Promise<never>,
    tell: () => undefined,
    close: () => undefined,
  }
  const tokens = createTokenSource('t')
  // Whatever is fetched fails: nothing needs to be.
  const http = createHttp(['http://127.0.0.1:9'], tokens, closed)
  const rest = createRest(http, http)
  const sender = createSender({ connection, rest, tokens, refresh: () => Promise.resolve(), closed })
  const isReplaced = () => false
  const room = createRoom(world.conversationId, {
    connection,
    rest,
    sender,
    role: 'user',
    closed,
    isReplaced,
  })
  return { room, world, connection, rest, closed }
}
