import { LIMITS, type ServerEvent, type ServerPayload } from '@parley/contract'
import type { ChatSocket } from '../sockets.ts'
import { encodeFrame, type Frame } from './frames.ts'
import { bufferedBytes, terminate, writeFrames } from './wire.ts'

/** Bytes that may wait for one client. */
const MAX_BUFFERED_BYTES = LIMITS.requestBytes
/**
 * Above this many bytes typing and presence are left out, which the next such event makes good. Deltas of a streamed
 * answer are not: each goes on where the one before it ended.
 */
const MAX_BYTES_BEFORE_VOLATILE = 64 * 1024
/** Milliseconds that a client which reads too slowly has to take what waits for it already. */
const OVERFLOW_GRACE_MS = 5_000

export type Outbound = ReturnType<typeof createOutbound>

/** All that is sent to sockets, acknowledgements apart: bounded for each, so that a slow reader costs only itself. */
export function createOutbound({
  onOverflow = () => undefined,
}: {
  onOverflow?: (socket: ChatSocket) => void
} = {}) {
  /**
   * Nothing more goes out, and the connection ends: by joining again the client gets all it lacks. `resync` tells of
   * the room whose event was too much. Where that belonged to no room there is only the close: to say so for each room
   * that the socket is in would make it fetch them all just before it joins them all.
   */
  function overflow(socket: ChatSocket, conversationId: string | null): void {
    const { session } = socket.data
    if (session.overflowed) return
    session.overflowed = true
    onOverflow(socket)
    if (conversationId !== null) {
      socket.conn.write(encodeFrame('resync', JSON.stringify({ conversationId, reason: 'slow_reader' })).text)
    }
    // Not by a close frame: it would wait behind all that is not being read.
    setTimeout(() => terminate(socket.conn), OVERFLOW_GRACE_MS)
  }

  /** Writes frames, whose bytes in one piece are `wire`. What a client can't buffer ends its connection. */
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
    /** False ends the connection: it asks for more and reads nothing. */
    mayAnswer(socket: ChatSocket): boolean {
      if (socket.data.session.overflowed) return false
      if (bufferedBytes(socket) <= MAX_BUFFERED_BYTES) return true
      overflow(socket, null)
      return false
    },
  }
}
