import { type IncomingMessage, ServerResponse } from 'node:http'
import type { ChatServer, ChatSocket } from '../sockets.ts'

/**
 * Lets go of what only the handshake needed: headers, the token, which the session has, and the request itself. A
 * websocket would keep its request for as long as it lives, reachable from the connection and from the response that
 * Engine.IO makes up for its middlewares (measured: 2 KiB each). If a later Engine.IO keeps it elsewhere, it stays.
 */
export function createForget(io: ChatServer): (socket: ChatSocket) => void {
  io.engine.use((_request: IncomingMessage, response: ServerResponse, next: () => void) => {
    next()
    // Polling has a real response, which ends with its request.
    if (!(response instanceof ServerResponse)) Object.assign(response, { req: null })
  })
  return ({ conn, handshake }) => {
    handshake.headers = {}
    handshake.auth = {}
    // A connection may try to connect more than once.
    if (!conn.request) return
    // Socket.IO's documentation does the same; only its types say that a connection always has a request.
    Object.assign(conn, { request: null })
  }
}
