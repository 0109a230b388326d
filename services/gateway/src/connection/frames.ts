import { CHAT_NAMESPACE } from '@parley/contract'

/** An event ready for the wire, encoded once for all receivers. */
export interface Frame {
  /** The Socket.IO packet: `2/chat,["message:new",{…}]`. */
  text: string
  /** The same as a whole WebSocket frame, its Engine.IO type and its header included. */
  wire: Buffer
}

/** An event with one argument, given as JSON text. */
export function encodeFrame(event: string, json: string): Frame {
  const text = `2${CHAT_NAMESPACE},["${event}",${json}]`
  return { text, wire: webSocketFrame(`4${text}`) }
}

/** An unmasked, final, uncompressed text frame (RFC 6455, 5.2). */
function webSocketFrame(text: string): Buffer {
  const length = Buffer.byteLength(text)
  const header = length < 126 ? 2 : length < 65_536 ? 4 : 10
  const frame = Buffer.allocUnsafe(header + length)
  frame[0] = 0x81
  if (header === 2) {
    frame[1] = length
  } else if (header === 4) {
    frame[1] = 126
    frame.writeUInt16BE(length, 2)
  } else {
    frame[1] = 127
    frame.writeUInt32BE(0, 2)
    frame.writeUInt32BE(length, 6)
  }
  frame.write(text, header)
  return frame
}
