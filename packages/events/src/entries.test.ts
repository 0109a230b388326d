import fc from 'fast-check'
import { expect, test } from 'vitest'
import { compareIds } from './entries.ts'

test('entry ids are ordered by time, then number', () => {
  const id = fc.tuple(fc.nat({ max: 2 ** 45 }), fc.nat())
  fc.assert(
    fc.property(id, id, (a, b) => {
      const expected = a[0] - b[0] || a[1] - b[1]
      expect(Math.sign(compareIds(a.join('-'), b.join('-')))).toBe(Math.sign(expected))
    }),
  )
})
