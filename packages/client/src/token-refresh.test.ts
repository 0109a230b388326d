import { afterEach, expect, it, vi } from 'vitest'
import { stubRoom } from './testing/stub-room.ts'
import { createTokenRefresh } from './token-refresh.ts'

afterEach(() => vi.useRealTimers())

it('asks again for a token where it got the one that expires', async () => {
  vi.useFakeTimers()
  const expiresAt = new Date(Date.now() + 60_000).toISOString()
  const later = new Date(Date.now() + 120_000).toISOString()
  const given = [expiresAt, expiresAt, later, later]
  const askedAt: number[] = []
  const begun = Date.now()
  const { connection, closed } = stubRoom(() => {
    askedAt.push(Date.now() - begun)
    return Promise.resolve({ expiresAt: given.shift() })
  })
  const renew = () => Promise.resolve('t')
  createTokenRefresh(connection, { get: renew, renew, drop: () => undefined, renewable: true }, closed)
  connection.events.emit('auth:expiring', { expiresAt })
  await vi.advanceTimersByTimeAsync(60_000)
  expect(askedAt).toHaveLength(3)
  const [first = 0, second = 0, third = 0] = askedAt
  expect(first).toBeLessThanOrEqual(1_000)
  expect(second - first).toBeGreaterThanOrEqual(29_000)
  expect(third - second).toBeGreaterThanOrEqual(14_000)
})

it('asks no more than once a second for a token, also in the last moment of the one it has', async () => {
  vi.useFakeTimers()
  const expiresAt = new Date(Date.now() + 400).toISOString()
  let asked = 0
  const { connection, closed } = stubRoom(() => {
    asked += 1
    return Promise.resolve({ expiresAt })
  })
  const renew = () => Promise.resolve('t')
  createTokenRefresh(connection, { get: renew, renew, drop: () => undefined, renewable: true }, closed)
  connection.events.emit('auth:expiring', { expiresAt })
  await vi.advanceTimersByTimeAsync(3_500)
  expect(asked).toBe(4)
})
