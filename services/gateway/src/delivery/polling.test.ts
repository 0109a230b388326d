import { createLogger } from '@parley/service-kit'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { createOutbound } from '../connection/outbound.ts'
import { createPeople } from '../connection/people.ts'
import { createLifecycle } from '../lifecycle.ts'
import type { Core } from '../services.ts'
import { createFakeApi, newId } from '../testing/fake-api.ts'
import { createFakeSocket } from '../testing/fake-socket.ts'
import { createDelivery } from './delivery.ts'
import { createRooms } from './rooms.ts'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

it('asks the api once a second, however often the streams come and go while it is being asked', async () => {
  const { api, calls, beforeEach: hold } = createFakeApi()
  const outbound = createOutbound()
  const core: Partial<Core> = {
    api,
    outbound,
    rooms: createRooms({ outbound }),
    people: createPeople(),
    lifecycle: createLifecycle(),
    logger: createLogger({ name: 'test', level: 'silent' }),
  }
  const count = () => undefined
  const delivery = createDelivery(core as Core, { gap: count, fill: count, resync: count })
  const answered = Promise.withResolvers<void>()
  // It follows a conversation as long as its join is not answered.
  hold((path) => (path === '/internal/heads' ? answered.promise : new Promise(() => undefined)))
  const look = () => Promise.reject(new Error('nobody looks'))
  void delivery.follow.join(createFakeSocket().socket, { conversationId: newId() }, look, count)
  const asked = () => calls.filter((path) => path === '/internal/heads').length
  delivery.onTailState(false)
  await vi.advanceTimersByTimeAsync(1_000)
  expect(asked()).toBe(1)
  delivery.onTailState(true)
  delivery.onTailState(false)
  answered.resolve()
  await vi.advanceTimersByTimeAsync(3_000)
  expect(asked()).toBe(4)
  delivery.close()
})
