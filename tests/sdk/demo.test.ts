import { type Stack, startStack } from '@parley/devstack'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { runDemo } from '../../examples/demo.ts'

let stack: Stack
beforeAll(async () => {
  stack = await startStack({ gateways: 2, supervise: true })
})
afterAll(() => stack.close())

it('plays the demo: the same lines, in the same order, for all', { timeout: 120_000 }, async () => {
  const lines: string[] = []
  await runDemo(stack, { out: (line) => lines.push(line) })
  const spoken = lines.filter((line) => /^ *\d+ {2}[A-Z &]+ {2}/.test(line))
  expect(spoken.length).toBeGreaterThanOrEqual(200)
  expect(lines.join('\n')).toContain('in the same order')
  expect(lines.join('\n')).toMatch(/Summaries were made up to lines .*\b230\b/)
  expect(lines.at(-1)).not.toBe('')
})
