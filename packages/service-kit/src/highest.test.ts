import { expect, it } from 'vitest'
import { createHighest } from './highest.ts'

it('takes each number for news once, and none that was overtaken, by name', () => {
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
  highest.forget('a')
  expect(highest.isNews('a', 2)).toBe(true)
})

it('forgets what was asked for longest ago', () => {
  const highest = createHighest(2)
  for (const name of ['a', 'b', 'a', 'c']) highest.isNews(name, 1)
  expect(['a', 'c', 'b'].map((name) => highest.isNews(name, 1))).toEqual([false, false, true])
})
