import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { createPeriodic } from './periodic.ts'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

/** Rounds that end when told to. */
function createRounds() {
  const rounds: PromiseWithResolvers<number>[] = []
  const periodic = createPeriodic(() => {
    const round = Promise.withResolvers<number>()
    rounds.push(round)
    return round.promise
  })
  return { periodic, rounds }
}

it('begins the next round after the delay that the previous one returned', async () => {
  const { periodic, rounds } = createRounds()
  const started = periodic.start()
  await vi.advanceTimersByTimeAsync(5_000)
  rounds[0]?.resolve(1_000)
  await started
  await vi.advanceTimersByTimeAsync(999)
  expect(rounds).toHaveLength(1)
  await vi.advanceTimersByTimeAsync(1)
  expect(rounds).toHaveLength(2)
})

it('begins one at once when woken, or right after the one that is under way', async () => {
  const { periodic, rounds } = createRounds()
  void periodic.start()
  rounds[0]?.resolve(60_000)
  await vi.advanceTimersByTimeAsync(0)
  periodic.wake()
  expect(rounds).toHaveLength(2)
  for (let n = 0; n < 3; n++) periodic.wake()
  expect(rounds).toHaveLength(2)
  rounds[1]?.resolve(60_000)
  await vi.advanceTimersByTimeAsync(0)
  expect(rounds).toHaveLength(3)
  rounds[2]?.resolve(60_000)
  await vi.advanceTimersByTimeAsync(59_999)
  expect(rounds).toHaveLength(3)
})

it('is closed once its last round has ended, and begins no more', async () => {
  const { periodic, rounds } = createRounds()
  const started = periodic.start()
  periodic.wake()
  const onClosed = vi.fn()
  const closing = periodic.close().then(onClosed)
  await vi.advanceTimersByTimeAsync(1_000)
  expect(onClosed).not.toHaveBeenCalled()
  rounds[0]?.resolve(0)
  await Promise.all([started, closing])
  periodic.wake()
  await periodic.start()
  await vi.advanceTimersByTimeAsync(60_000)
  expect(rounds).toHaveLength(1)
})
