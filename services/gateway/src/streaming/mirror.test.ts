import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createMirror, type Piece } from './mirror.ts'

/** What a client shows that follows the operations; fails if a delta doesn't fit. */
function client() {
  let text = ''
  return {
    take(piece: Piece | 'whole' | null) {
      if (piece === null || piece === 'whole') return
      if (piece.op === 'snapshot') text = ''
      expect(piece.index).toBe(text.length)
      text += piece.text
    },
    get text() {
      return text
    },
  }
}

const piecesOf = (text: string, sizes: readonly number[]) => {
  const pieces: { index: number; text: string }[] = []
  let index = 0
  for (const size of sizes) {
    if (index >= text.length) break
    pieces.push({ index, text: text.slice(index, index + size) })
    index += size
  }
  if (index < text.length) pieces.push({ index, text: text.slice(index) })
  return pieces
}

test('no letter is lost or doubled, whatever is lost, doubled or late on the way', () => {
  fc.assert(
    fc.property(
      fc.string({ minLength: 1, maxLength: 40 }),
      fc.array(fc.integer({ min: 1, max: 6 }), { maxLength: 12 }),
      fc.array(fc.constantFrom('pass', 'lose', 'double', 'swap'), { maxLength: 12 }),
      fc.array(fc.nat(12), { maxLength: 4 }),
      (text, sizes, fates, stale) => {
        const mirror = createMirror()
        const shown = client()
        const sent = piecesOf(text, sizes)
        const arriving = sent.flatMap((piece, i) => {
          const fate = fates[i] ?? 'pass'
          return fate === 'lose' ? [] : fate === 'double' ? [piece, piece] : [piece]
        })
        fates.forEach((fate, i) => {
          const [a, b] = [arriving[i], arriving[i + 1]]
          if (fate === 'swap' && a && b) [arriving[i], arriving[i + 1]] = [b, a]
        })
        const read = (whole: string) => {
          for (const piece of mirror.whole(whole).pieces) shown.take(piece)
        }
        arriving.forEach(({ index, text: piece }, i) => {
          const told = mirror.piece(index, piece)
          shown.take(told)
          expect(text.startsWith(shown.text)).toBe(true)
          // A read may return an earlier state.
          if (told === 'whole' && stale.includes(i)) read(text.slice(0, index))
          else if (told === 'whole') read(text.slice(0, index + piece.length))
          expect(mirror.text).toBe(shown.text)
        })
        read(text)
        expect(shown.text).toBe(text)
      },
    ),
  )
})

test('an owner that begins at an earlier offset with different text causes a snapshot', () => {
  const mirror = createMirror()
  const shown = client()
  shown.take(mirror.piece(0, 'Hello wor'))
  expect(mirror.piece(5, ', you')).toBe('whole')
  const { pieces, complete } = mirror.whole('Hello, you')
  expect(complete).toBe(true)
  for (const piece of pieces) shown.take(piece)
  expect(pieces).toEqual([{ op: 'snapshot', index: 0, text: 'Hello, you' }])
  expect(shown.text).toBe('Hello, you')
})

test('an owner that begins at an earlier offset causes one also if the text is read without its new piece', () => {
  const mirror = createMirror()
  mirror.piece(0, 'Hello wor')
  expect(mirror.piece(5, ', you')).toBe('whole')
  expect(mirror.whole('Hello').pieces).toEqual([
    { op: 'snapshot', index: 0, text: 'Hello' },
    { op: 'delta', index: 5, text: ', you' },
  ])
})
