import { expect, it } from 'vitest'
import { createRegistry } from './metrics.ts'

it('of the event loop only the lag measured on request is shown: the sampler’s figures contain its own second', () => {
  const names = createRegistry('test')
    .getMetricsAsArray()
    .map(({ name }) => name)
  expect(names.filter((name) => name.startsWith('nodejs_eventloop_lag'))).toEqual([
    'nodejs_eventloop_lag_seconds',
  ])
})
