import type { ConnectErrorData } from '@parley/contract'
import { io, type Socket } from 'socket.io-client'
import { ParleyError } from './errors.ts'

/** Milliseconds that a gateway has to take a connection. */
export const CONNECT_TIMEOUT_MS = 10_000

/** A socket of its own, not connected yet, which doesn't come back by itself. */
export function createSocket(gatewayUrl: string, token: string): Socket {
  return io(`${gatewayUrl}/chat`, {
    transports: ['websocket'],
    auth: { token },
    autoConnect: false,
    forceNew: true,
    reconnection: false,
    timeout: CONNECT_TIMEOUT_MS,
  })
}

/** Resolves once the handshake is through; rejects with why it isn't. The namespace has no time limit of its own. */
export function handshake(socket: Socket): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once('connect', resolve)
    // A gateway that goes before it has answered is no `connect_error`.
    socket.once('disconnect', (reason) => reject(unreachable(reason)))
    socket.once('connect_error', (error: Error & { data?: ConnectErrorData }) => {
      const code = error.data?.code
      if (!code) {
        reject(unreachable(error.message, error))
        return
      }
      const wait = error.data?.reconnectAfterMs
      reject(new ParleyError(code, error.message, wait === undefined ? {} : { retryAfterMs: wait }))
    })
    socket.connect()
  })
}

/** Resolves once the socket is gone, to why. */
export function untilGone(socket: Socket): Promise<string> {
  return new Promise((resolve) => {
    socket.once('disconnect', (reason) => resolve(reason))
    if (!socket.connected) resolve('lost at once')
  })
}

const unreachable = (why: string, cause?: Error): ParleyError =>
  new ParleyError('network', `The gateway can't be reached: ${why}`, cause ? { cause } : {})
