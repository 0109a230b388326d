import fc from 'fast-check'
import { expect, test } from 'vitest'
import { compareIds, encodeEntry } from './entries.ts'

test('entry ids are ordered by time, then number', () => {
  const id = fc.tuple(fc.nat({ max: 2 ** 45 }), fc.nat())
  fc.assert(
    fc.property(id, id, (a, b) => {
      const expected = a[0] - b[0] || a[1] - b[1]
      expect(Math.sign(compareIds(a.join('-'), b.join('-')))).toBe(Math.sign(expected))
    }),
  )
})

test('data over 8 KiB is left out, in whatever script', () => {
  const texts = ['x'.repeat(8_192), 'x'.repeat(8_193), 'ä'.repeat(4_096), 'ä'.repeat(4_097)]
  const isThere = (data: string) =>
    encodeEntry({ type: 'message.created', org: 'acme', cid: 'one', seq: 1, data }).includes('data')
  expect(texts.map(isThere)).toEqual([true, false, true, false])
})
