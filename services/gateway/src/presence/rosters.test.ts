import { createLogger } from '@parley/service-kit'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { createLifecycle } from '../lifecycle.ts'
import { createRosters } from './rosters.ts'

const ROOM = '665f1c2ab1d4e8a3c9d0f1a2'
const SETTLE_MS = 1_000

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

function openRosters() {
  const reads: PromiseWithResolvers<string[]>[] = []
  const tell = vi.fn()
  let restored = () => {}
  const rosters = createRosters({
    bus: {
      hold: async () => undefined,
      release: () => undefined,
      onRestored: (listener) => {
        restored = listener
      },
    },
    lifecycle: createLifecycle(),
    read() {
      const reading = Promise.withResolvers<string[]>()
      reads.push(reading)
      return reading.promise
    },
    here: () => [],
    tell,
    settleMs: SETTLE_MS,
    logger: createLogger({ name: 'test', level: 'silent' }),
  })
  /** The next question to Redis. */
  async function asked(afterMs: number): Promise<PromiseWithResolvers<string[]>> {
    await vi.advanceTimersByTimeAsync(afterMs)
    const reading = reads.shift()
    if (!reading) throw new Error('Redis was not asked')
    return reading
  }
  return { ...rosters, tell, asked, restore: () => restored() }
}

test('a joiner sees those who come and go while the room is being read', async () => {
  const { view, apply, asked } = openRosters()
  const viewing = view(ROOM)
  const reading = await asked(0)
  apply(ROOM, 'user:bob', true)
  apply(ROOM, 'user:eve', false)
  reading.resolve(['user:eve'])
  expect((await viewing).join('user:ada')).toEqual({ users: ['bob', 'ada'], agents: [] })
})

test('a room that cannot be checked after a break is checked again', async () => {
  const { view, asked, restore, tell } = openRosters()
  const viewing = view(ROOM)
  const first = await asked(0)
  first.resolve(['user:bob'])
  ;(await viewing).join('user:ada')
  restore()
  const refused = await asked(SETTLE_MS)
  refused.reject(new Error('Redis is away'))
  const answered = await asked(SETTLE_MS)
  answered.resolve([])
  await vi.advanceTimersByTimeAsync(0)
  expect(tell.mock.calls).toEqual([[ROOM, 'user:bob', false]])
})
