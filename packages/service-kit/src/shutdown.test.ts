import { expect, it } from 'vitest'
import { createLogger } from './logging.ts'
import { createShutdown } from './shutdown.ts'

const logger = createLogger({ name: 'test', level: 'silent' })

it('runs its phases once, in order, past those that fail or hang', async () => {
  const shutdown = createShutdown({ logger, timeoutMs: 5_000 })
  const seen: string[] = []
  shutdown.phase('first', 1_000, async () => seen.push('first'))
  shutdown.phase('failing', 1_000, () => {
    seen.push('failing')
    throw new Error('cannot')
  })
  shutdown.phase('hanging', 20, () => new Promise(() => seen.push('hanging')))
  shutdown.phase('last', 1_000, () => seen.push('last'))
  expect(shutdown.draining).toBe(false)
  const first = shutdown.run()
  expect(shutdown.draining).toBe(true)
  await Promise.all([first, shutdown.run()])
  expect(seen).toEqual(['first', 'failing', 'hanging', 'last'])
})

it('takes no longer in all than it may', async () => {
  const shutdown = createShutdown({ logger, timeoutMs: 50 })
  for (const name of ['a', 'b', 'c']) shutdown.phase(name, 10_000, () => new Promise(() => undefined))
  const started = performance.now()
  await shutdown.run()
  expect(performance.now() - started).toBeLessThan(5_000)
})
