import { expect, it } from 'vitest'
import { createTokenBucket } from './token-bucket.ts'

it('lets a burst through, then so many a second', () => {
  let now = 0
  const bucket = createTokenBucket(10, 5, () => now)
  const taken = () => Array.from({ length: 100 }, () => bucket.take()).filter(Boolean).length
  expect(taken()).toBe(5)
  expect(bucket.waitMs()).toBe(100)
  now = 300
  expect(taken()).toBe(3)
  now = 60_000
  expect(taken()).toBe(5)
})

it('is off at 0', () => {
  const bucket = createTokenBucket(0)
  expect(Array.from({ length: 1_000 }, () => bucket.take()).every(Boolean)).toBe(true)
})
