/** A piece for the room: `delta` continues where the room is, `snapshot` begins anew. */
export interface Piece {
  op: 'delta' | 'snapshot'
  index: number
  text: string
}

export type Mirror = ReturnType<typeof createMirror>

/**
 * The text of a streamed answer as far as a room here has been told of it. Takes pieces in any order and any number of
 * times; one that can't be told next calls for the whole text. Pure.
 */
export function createMirror() {
  let text = ''
  let ahead: { index: number; text: string }[] = []

  function next(index: number, piece: string): Piece | 'whole' | null {
    if (index > text.length) return 'whole'
    const known = text.slice(index, index + piece.length)
    if (!piece.startsWith(known)) return 'whole'
    const fresh = piece.slice(known.length)
    if (fresh === '') return null
    const at = text.length
    text += fresh
    return { op: 'delta', index: at, text: fresh }
  }

  return {
    get text(): string {
      return text
    },
    /**
     * `whole`: something is missing, or a different text was told before; the piece is kept until the whole text is
     * there.
     */
    piece(index: number, piece: string): Piece | 'whole' | null {
      const told = next(index, piece)
      if (told === 'whole') ahead.push({ index, text: piece })
      return told
    },
    /** The whole text as it was at some time since the piece that asked for it. */
    whole(current: string): { pieces: Piece[]; complete: boolean } {
      const pieces: Piece[] = []
      const stale = text.startsWith(current)
      if (current.startsWith(text)) {
        const told = next(text.length, current.slice(text.length))
        if (told !== null && told !== 'whole') pieces.push(told)
      } else if (!stale || ahead.some(({ index }) => index <= current.length)) {
        text = current
        pieces.push({ op: 'snapshot', index: 0, text })
      }
      const waiting = ahead.sort((a, b) => a.index - b.index)
      ahead = []
      for (const piece of waiting) {
        const told = next(piece.index, piece.text)
        if (told === 'whole') ahead.push(piece)
        else if (told !== null) pieces.push(told)
      }
      return { pieces, complete: ahead.length === 0 }
    },
  }
}
