import { type IncomingMessage, ServerResponse } from 'node:http'
import type { ChatServer, ChatSocket } from '../sockets.ts'

/**
 * Lets go of what only the handshake needed: headers, the token, which the session has, and the request itself. A
 * websocket would keep its request for as long as it lives, reachable from the connection and from the response that
 * Engine.IO makes up for its middlewares (measured: 2 KiB each). Where a later Engine.IO has it otherwise, it stays.
 */
export function createForget(io: ChatServer): (socket: ChatSocket) => void {
  const responses = new WeakMap<IncomingMessage, ServerResponse>()
  io.engine.use((request: IncomingMessage, response: ServerResponse, next: () => void) => {
    // That of polling is real, and ends with its request.
    if (!(response instanceof ServerResponse)) responses.set(request, response)
    next()
  })
  return ({ conn, handshake }) => {
    handshake.headers = {}
    handshake.auth = {}
    const { request } = conn
    // One connection may come in more than once.
    if (!request) return
    const response = responses.get(request)
    if (response) Object.assign(response, { req: null })
    // As Socket.IO's documentation has it; only its types say that a connection always has one.
    Object.assign(conn, { request: null })
  }
}
