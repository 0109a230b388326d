import type { ChatSocket } from '../sockets.ts'
import type { Frame } from './frames.ts'

/** Internals of a `ws` socket that its types don't cover. Engine.IO uses `_sender` in the same way. */
interface RawWebSocket {
  bufferedAmount: number
  readyState: number
  terminate(): void
  _sender: { sendFrame(buffers: Buffer[]): void }
}

/** A connection's transport and its websocket, if it has one; cached as long as the transport stays the same. */
export interface Link {
  transport: object
  socket: RawWebSocket | null
}

const OPEN = 1

function isRawWebSocket(value: unknown): value is RawWebSocket {
  if (typeof value !== 'object' || value === null) return false
  if (!('bufferedAmount' in value) || !('readyState' in value) || !('_sender' in value)) return false
  if (!('terminate' in value) || typeof value.terminate !== 'function') return false
  const sender = value._sender
  return (
    typeof sender === 'object' &&
    sender !== null &&
    'sendFrame' in sender &&
    typeof sender.sendFrame === 'function'
  )
}

function belowOf(transport: object): RawWebSocket | null {
  const below: unknown = 'socket' in transport ? transport.socket : null
  return isRawWebSocket(below) ? below : null
}

function linkOf(socket: ChatSocket): Link {
  const { transport } = socket.conn
  const { session } = socket.data
  if (session.link?.transport === transport) return session.link
  session.link = { transport, socket: belowOf(transport) }
  return session.link
}

/** What a packet counts for, once that is known: a character takes up to three bytes. */
const SIZE = Symbol('size')
type Packet = { data?: unknown; [SIZE]?: number }
const NONE: readonly Packet[] = []

/** Packets that Engine.IO holds back because its transport is busy: polling, an upgrade, a write not yet done. */
function backlog(conn: object): readonly Packet[] {
  return 'writeBuffer' in conn && Array.isArray(conn.writeBuffer) ? conn.writeBuffer : NONE
}

/** Bytes that a packet counts for besides its text. Bounds how many wait, since all are counted at every event. */
const PACKET_BYTES = 256

const sizeOf = ({ data }: Packet): number =>
  (typeof data === 'string' ? Buffer.byteLength(data) : 0) + PACKET_BYTES

const bytesOf = (packets: readonly Packet[]): number =>
  packets.reduce((sum, packet) => {
    packet[SIZE] ??= sizeOf(packet)
    return sum + packet[SIZE]
  }, 0)

/** Bytes that wait to be read by this client. */
export function bufferedBytes(socket: ChatSocket): number {
  return (linkOf(socket).socket?.bufferedAmount ?? 0) + bytesOf(backlog(socket.conn))
}

/**
 * Writes frames to one socket, in order with what was sent to it before. `wire` is their bytes in one piece, a single
 * write on a websocket. While Engine.IO polls or has a backlog they go through its queue.
 */
export function writeFrames(socket: ChatSocket, frames: readonly Frame[], wire: Buffer): void {
  const { conn } = socket
  const { socket: below } = linkOf(socket)
  if (below !== null && !conn.upgrading && backlog(conn).length === 0) {
    if (below.readyState === OPEN) below._sender.sendFrame([wire])
    return
  }
  for (const { text } of frames) conn.write(text)
}

/** Ends a connection at once, whatever still waits to be sent. */
export function terminate(conn: ChatSocket['conn']): void {
  const below = belowOf(conn.transport)
  conn.close(true)
  below?.terminate()
}
