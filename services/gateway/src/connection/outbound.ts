import { LIMITS, type ServerEvent, type ServerPayload } from '@parley/contract'
import type { ChatSocket } from '../sockets.ts'
import { encodeFrame, type Frame } from './frames.ts'
import { bufferedBytes, terminate, writeFrames } from './wire.ts'

/** Bytes that may wait for one client. */
const MAX_BUFFERED_BYTES = LIMITS.requestBytes
/**
 * Above this many bytes typing and presence are left out; the next such event makes up for it. Deltas of a streamed
 * answer are not: each continues where the one before it ended.
 */
const MAX_BYTES_BEFORE_VOLATILE = 64 * 1024
/** Milliseconds that a client which reads too slowly has to take what already waits for it. */
const OVERFLOW_GRACE_MS = 5_000

export type Outbound = ReturnType<typeof createOutbound>

/** Everything sent to sockets, except acknowledgements: bounded per socket, so that a slow reader harms only itself. */
export function createOutbound({
  onOverflow = () => undefined,
}: {
  onOverflow?: (socket: ChatSocket) => void
} = {}) {
  /**
   * Sends nothing more and ends the connection: by joining again the client gets all it lacks. `resync` names the room
   * whose event was too much. An event of no room leads only to the close: a resync for each of the socket's rooms
   * would make it fetch them all just before it joins them all.
   */
  function overflow(socket: ChatSocket, conversationId: string | null): void {
    const { session } = socket.data
    if (session.overflowed) return
    session.overflowed = true
    onOverflow(socket)
    if (conversationId !== null) {
      socket.conn.write(encodeFrame('resync', JSON.stringify({ conversationId, reason: 'slow_reader' })).text)
    }
    // Not by a close frame, which would wait behind all that is not being read.
    setTimeout(() => terminate(socket.conn), OVERFLOW_GRACE_MS)
  }

  /** Writes frames, whose bytes in one piece are `wire`. More than may wait for a client ends its connection. */
  function write(
    socket: ChatSocket,
    frames: readonly Frame[],
    wire: Buffer,
    conversationId: string | null,
    volatile = false,
  ): void {
    if (socket.data.session.overflowed) return
    const buffered = bufferedBytes(socket)
    if (buffered > 0) {
      if (volatile && buffered > MAX_BYTES_BEFORE_VOLATILE) return
      if (buffered + wire.length > MAX_BUFFERED_BYTES) {
        overflow(socket, conversationId)
        return
      }
    }
    writeFrames(socket, frames, wire)
  }

  return {
    write,
    /** An event to one socket. */
    emit<E extends ServerEvent>(socket: ChatSocket, event: E, payload: ServerPayload<E>): void {
      const frame = encodeFrame(event, JSON.stringify(payload))
      write(socket, [frame], frame.wire, null)
    },
    /** False if the connection was ended: it asks for more and reads nothing. */
    mayAck(socket: ChatSocket): boolean {
      if (socket.data.session.overflowed) return false
      if (bufferedBytes(socket) <= MAX_BUFFERED_BYTES) return true
      overflow(socket, null)
      return false
    },
  }
}
