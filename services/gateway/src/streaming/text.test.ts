import { LIMITS, ProblemError } from '@parley/contract'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createStreamText } from './text.ts'

const codeOf = (run: () => void): string => {
  try {
    run()
  } catch (error) {
    return error instanceof ProblemError ? error.code : String(error)
  }
  return 'none'
}

/** A text and the offsets at which it is cut, also within surrogate pairs. */
const cutText = fc
  .tuple(
    fc.string({ unit: 'grapheme', minLength: 1, maxLength: 60 }),
    fc.array(fc.nat(200), { maxLength: 12 }),
  )
  .filter(([text]) => !text.includes('\0'))
  .map(([text, cuts]) => {
    const offsets = [...new Set(cuts.map((cut) => cut % text.length))].sort((a, b) => a - b)
    const bounds = [0, ...offsets.filter((offset) => offset > 0), text.length]
    return {
      text,
      pieces: bounds.slice(1).map((end, i) => ({ index: bounds[i] ?? 0, text: text.slice(bounds[i], end) })),
    }
  })

describe('the text of a stream', () => {
  test('comes out as it went in, however it was cut, repeated and gathered, and never with half a letter', () => {
    fc.assert(
      fc.property(cutText, fc.array(fc.boolean()), ({ text, pieces }, choices) => {
        const stream = createStreamText('')
        let out = ''
        const take = () => {
          const piece = stream.take()
          if (!piece) return
          expect(piece.index).toBe(out.length)
          expect(piece.text.isWellFormed()).toBe(true)
          out += piece.text
        }
        pieces.forEach((piece, i) => {
          stream.append(piece.index, piece.text)
          if (choices[i * 2]) stream.append(piece.index, piece.text)
          if (choices[i * 2 + 1]) take()
        })
        take()
        expect(out).toBe(text)
        expect(stream.whole).toBe(text)
        expect(stream.length).toBe(text.length)
      }),
    )
  })

  test('continues at a later offset if a repeat overlaps', () => {
    const stream = createStreamText('Hello')
    stream.append(3, 'lo, wor')
    expect(stream.take()).toEqual({ index: 5, text: ', wor' })
  })

  test('refuses a gap, different text, a broken surrogate pair, NUL and more than 64 KiB, and stays as it was', () => {
    const stream = createStreamText('abc')
    expect(codeOf(() => stream.append(4, 'x'))).toBe('conflict')
    expect(codeOf(() => stream.append(1, 'xx'))).toBe('conflict')
    expect(codeOf(() => stream.append(3, '\ud83dx'))).toBe('validation_failed')
    expect(codeOf(() => stream.append(3, '\0'))).toBe('validation_failed')
    expect(codeOf(() => stream.append(3, 'ä'.repeat(LIMITS.contentBytes / 2)))).toBe('payload_too_large')
    expect(stream.length).toBe(3)
    stream.append(3, 'd')
    expect(stream.whole).toBe('abcd')
  })
})
