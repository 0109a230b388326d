import { createLogger } from '@parley/service-kit'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { RoomAccess } from '../delivery/room-access.ts'
import type { ChatNamespace } from '../sockets.ts'
import { createFakeApi } from '../testing/fake-api.ts'
import { createPeople } from './people.ts'
import { createKnownRevocations, createRevocationFeed } from './revocations.ts'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

test('revocations that may have been missed are read again within a second if the api was away just then', async () => {
  const { api, calls, setAway } = createFakeApi()
  const revocations = createKnownRevocations()
  const feed = createRevocationFeed(
    { api, revocations, people: createPeople(), logger: createLogger({ name: 'test', level: 'silent' }) },
    {
      namespace: { sockets: new Map() } as unknown as ChatNamespace,
      roomAccess: {} as RoomAccess,
      isLive: () => true,
    },
  )
  await feed.start()
  await vi.advanceTimersByTimeAsync(10_000)
  expect(calls).toHaveLength(1)
  setAway(true)
  feed.readNow()
  await vi.advanceTimersByTimeAsync(0)
  setAway(false)
  await vi.advanceTimersByTimeAsync(1_000)
  expect(calls).toHaveLength(3)
  feed.close()
})
