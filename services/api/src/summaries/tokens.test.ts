import fc from 'fast-check'
import { countTokens } from 'gpt-tokenizer/encoding/o200k_base'
import { expect, test } from 'vitest'
import { tokensOf } from './tokens.ts'

const exact = (text: string) => countTokens(text, { disallowedSpecial: new Set() })

test('never fewer than the tokenizer counts, and for ordinary text the same', () => {
  const piece = fc.oneof(
    fc.lorem({ maxCount: 30 }),
    fc.string({ unit: 'binary', maxLength: 60 }),
    fc
      .tuple(
        fc.constantFrom('a', ' ', '!', '好', '🙂', '❤️', 'ab', '好的', '\n', '/\n'),
        fc.integer({ min: 1, max: 700 }),
      )
      .map(([unit, times]) => unit.repeat(times)),
  )
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 4 }), (pieces) => {
      const text = pieces.join('').toWellFormed()
      expect(tokensOf(text)).toBeGreaterThanOrEqual(exact(text))
    }),
    { numRuns: 150 },
  )
  const text = 'The quick brown fox jumps over the lazy dog, 17 times. '.repeat(40)
  expect(tokensOf(text)).toBe(exact(text))
})

test('of more than is asked about, no more than that is counted', () => {
  for (const text of ['word '.repeat(13_000), 'a'.repeat(65_536), `${'ab'.repeat(190)} `.repeat(170)]) {
    expect(tokensOf(text, 100)).toBeGreaterThan(100)
    expect(tokensOf(text, 100)).toBeLessThan(1_000)
    expect(tokensOf(text, 100_000)).toBe(tokensOf(text))
  }
})

test('what looks like a control token is text', () => {
  expect(tokensOf('<|endoftext|>')).toBeGreaterThan(1)
})

/** CPU time of this process in milliseconds, so that others on the machine don't count. */
function cpuMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1_000
}

test('no text of 64 KiB takes long', () => {
  for (const unit of ['a', '决', '!', ' ', 'xq', '🙂', '❤️', '!!\u0301', '/\n']) {
    const text = unit.repeat(Math.floor(65_536 / Buffer.byteLength(unit)))
    const start = cpuMs()
    tokensOf(text)
    expect(cpuMs() - start).toBeLessThan(1_000)
  }
})
