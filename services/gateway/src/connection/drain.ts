import { setTimeout as delay } from 'node:timers/promises'
import type { ChatNamespace, ChatSocket } from '../sockets.ts'
import type { Outbound } from './outbound.ts'

/** Milliseconds of drain per socket, and bounds of the whole. */
const PER_SOCKET_MS = 2
const MIN_MS = 100
const STEP_MS = 50
/** Milliseconds that a socket's running events may still take. */
const FINISH_TIMEOUT_MS = 3_000

/** Sends everybody elsewhere: each is told at once when to reconnect, then they are closed one after the other. */
export async function drain(options: {
  namespace: ChatNamespace
  outbound: Outbound
  /** Upper bound of the whole, in milliseconds. */
  maxMs: number
}): Promise<void> {
  const { namespace, outbound, maxMs } = options
  const sockets = [...namespace.sockets.values()]
  if (sockets.length === 0) return
  const spreadMs = Math.min(maxMs, Math.max(MIN_MS, sockets.length * PER_SOCKET_MS))
  const start = performance.now()
  const plan = sockets.map((socket, index) => ({ socket, at: (index / sockets.length) * spreadMs }))
  for (const { socket, at } of plan) {
    outbound.emit(socket, 'server:draining', { reconnectAfterMs: Math.round(at) })
  }
  const closing: Promise<void>[] = []
  for (const { socket, at } of plan) {
    while (performance.now() - start < at) await delay(STEP_MS)
    closing.push(finish(socket))
  }
  await Promise.all(closing)
}

/** Events that a socket has sent already are answered before it is closed. */
async function finish(socket: ChatSocket): Promise<void> {
  const end = performance.now() + FINISH_TIMEOUT_MS
  while (socket.data.session.pending > 0 && performance.now() < end) await delay(STEP_MS)
  socket.disconnect(true)
}
