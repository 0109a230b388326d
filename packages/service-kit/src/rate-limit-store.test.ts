import { expect, test } from 'vitest'
import { createLocalWindows } from './rate-limit-store.ts'

test('without Redis, too, a window ends at its time and counts each caller alone', () => {
  let now = 0
  const count = createLocalWindows(() => now)
  expect(count('ada', 100)).toEqual({ current: 1, ttl: 100 })
  now = 60
  expect(count('ada', 100)).toEqual({ current: 2, ttl: 40 })
  expect(count('bob', 100)).toEqual({ current: 1, ttl: 100 })
  now = 100
  expect(count('ada', 100)).toEqual({ current: 1, ttl: 100 })
})
