import { startStack } from '@parley/devstack'
import { expect, it } from 'vitest'
import { runDemo } from '../../examples/demo.ts'

it('plays the demo: the same lines, in the same order, for all', async () => {
  const stack = await startStack({ gateways: 2, supervise: true })
  const lines: string[] = []
  try {
    await runDemo(stack, { out: (line) => lines.push(line) })
  } finally {
    await stack.close()
  }
  const spoken = lines.filter((line) => /^ *\d+ {2}[A-Z &]+ {2}/.test(line))
  expect(spoken.length).toBeGreaterThanOrEqual(200)
  expect(lines.join('\n')).toContain('in the same order')
  expect(lines.join('\n')).toMatch(/Summaries were made up to lines .*\b230\b/)
  expect(lines.at(-1)).not.toBe('')
})
