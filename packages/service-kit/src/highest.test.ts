import { expect, it } from 'vitest'
import { createHighest } from './highest.ts'

it('counts each number of a name as new once, and never one that was overtaken', () => {
  const highest = createHighest(10)
  const asked = [
    ['a', 1],
    ['a', 1],
    ['b', 1],
    ['a', 3],
    ['a', 2],
  ] as const
  expect(asked.map(([name, number]) => highest.isNews(name, number))).toEqual([
    true,
    false,
    true,
    true,
    false,
  ])
  expect(['a', 'b', 'c'].map(highest.of)).toEqual([3, 1, 0])
  highest.forget('a')
  expect(highest.isNews('a', 2)).toBe(true)
})

it('forgets the least recently used', () => {
  const highest = createHighest(2)
  for (const name of ['a', 'b', 'a', 'c']) highest.isNews(name, 1)
  expect(['a', 'c', 'b'].map((name) => highest.isNews(name, 1))).toEqual([false, false, true])
})
