import { expect, test } from 'vitest'
import { createRing } from './ring.ts'

test('all that went out since a number is returned, or nothing if some of it is not kept', () => {
  const ring = createRing(10)
  expect([ring.since(9), ring.since(10)]).toEqual([null, []])
  for (let number = 11; number <= 75; number++) ring.push(number, `${number}`)
  expect(ring.since(10)).toBeNull()
  expect(ring.since(11)).toHaveLength(64)
  expect(ring.since(73)).toEqual(['74', '75'])
})

test('few long texts are kept', () => {
  const ring = createRing(0)
  for (const number of [1, 2, 3]) ring.push(number, 'x'.repeat(50_000))
  expect(ring.since(0)).toBeNull()
  expect(ring.since(1)).toHaveLength(2)
})
