import { expect, it } from 'vitest'
import { createRegistry } from './metrics.ts'

it('a process that has nothing to do shows an event loop that is on time', async () => {
  const registry = createRegistry('test')
  // The sampler has to have looked at least twice.
  await new Promise((resolve) => setTimeout(resolve, 2_100))
  const lags = (await registry.metrics()).matchAll(/^(nodejs_eventloop_lag\w*)\{.*\} (\S+)$/gm)
  const late = [...lags].map(([, name, value]) => ({ name, isOnTime: Number(value) < 0.5 }))
  expect(late).toEqual([{ name: 'nodejs_eventloop_lag_seconds', isOnTime: true }])
})
