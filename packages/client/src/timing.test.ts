import { expect, it, vi } from 'vitest'
import { collectGarbage } from './testing/collect-garbage.ts'
import { anySignal } from './timing.ts'

it('fires with a time limit that nobody else holds', async () => {
  const either = anySignal(new AbortController().signal, AbortSignal.timeout(50))
  const isOver = () => {
    collectGarbage()
    expect(either?.aborted).toBe(true)
  }
  await vi.waitFor(isOver, { interval: 10 })
})
