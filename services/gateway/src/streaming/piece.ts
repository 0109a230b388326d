import { z } from 'zod'

/** Part of a streamed answer, between gateways. */
export interface StreamPiece {
  messageId: string
  seq: number
  /** Offset of `text` in UTF-16 units. */
  index: number
  text: string
}

const Wire = z.tuple([z.string(), z.int(), z.int(), z.string()])

export const encodePiece = ({ messageId, seq, index, text }: StreamPiece): string =>
  JSON.stringify([messageId, seq, index, text])

/** @throws ZodError, SyntaxError for what {@link encodePiece} didn't make */
export function decodePiece(json: string): StreamPiece {
  const [messageId, seq, index, text] = Wire.parse(JSON.parse(json))
  return { messageId, seq, index, text }
}
