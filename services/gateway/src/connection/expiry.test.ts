import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { createExpiry } from './expiry.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

const inSeconds = (seconds: number) => Date.now() / 1_000 + seconds
const socketFor = (seconds: number) => ({
  data: { session: { expiresAt: inSeconds(seconds), expiryTold: false } },
  disconnect: vi.fn(),
})
function openExpiry() {
  const told: string[] = []
  const expiry = createExpiry<ReturnType<typeof socketFor>>({ emit: (_socket, event) => told.push(event) })
  return { told, ...expiry }
}

test('a socket that showed a newer token is warned before that one ends too', () => {
  const { told, watch } = openExpiry()
  const socket = socketFor(90)
  watch(socket)
  vi.advanceTimersByTime(32_000)
  expect(told).toEqual(['auth:expiring'])
  socket.data.session.expiresAt = inSeconds(120)
  watch(socket)
  vi.advanceTimersByTime(58_000)
  expect(told).toHaveLength(1)
  vi.advanceTimersByTime(4_000)
  expect(told).toEqual(['auth:expiring', 'auth:expiring'])
})

test('a socket that comes after all others have gone is watched like them', () => {
  const { told, watch, stop } = openExpiry()
  const [first, second] = [socketFor(60), socketFor(60)]
  watch(first)
  stop(first)
  expect(vi.getTimerCount()).toBe(0)
  watch(second)
  vi.advanceTimersByTime(92_000)
  expect(told).toEqual(['auth:expiring', 'auth:expired'])
  expect(second.disconnect).toHaveBeenCalledWith(true)
  expect(first.disconnect).not.toHaveBeenCalled()
})
