import {
  type Caller,
  type InternalAuthorize,
  type InternalAuthorizeResult,
  isAdmin,
  LIMITS,
  problem,
} from '@parley/contract'
import { createLogger } from '@parley/service-kit'
import { expect, onTestFinished, test, vi } from 'vitest'
import { createOutbound } from '../connection/outbound.ts'
import { createLifecycle } from '../lifecycle.ts'
import type { Core } from '../services.ts'
import { createFakeApi, newId } from '../testing/fake-api.ts'
import { createFakeSocket } from '../testing/fake-socket.ts'
import { createMembership } from './membership.ts'
import { createRoomAccess, type RoomAccess } from './room-access.ts'
import { createRooms } from './rooms.ts'

/** A room with a socket for each of these people; `answer` is the api. */
function open(
  ids: readonly string[],
  answer: (request: InternalAuthorize) => Promise<InternalAuthorizeResult> | InternalAuthorizeResult,
) {
  const outbound = createOutbound()
  const api = {
    ...createFakeApi().api,
    internal: async (_path: string, body: unknown) => answer(body as InternalAuthorize) as never,
  }
  const core: Pick<Core, 'api' | 'rooms' | 'lifecycle' | 'outbound' | 'logger'> = {
    api,
    outbound,
    rooms: createRooms({ outbound }),
    lifecycle: createLifecycle(),
    logger: createLogger({ name: 'test', level: 'silent' }),
  }
  const none = () => undefined
  const roomAccess: RoomAccess = createRoomAccess(core, {
    fetch: () => Promise.reject(problem('not_found')),
    onUnsure: none,
    onSkipped: none,
    onMessage: none,
    onMessageChanged: none,
    metrics: { gap: none, fill: none, resync: none },
  })
  const membership = createMembership(core, { notices: { removed: none }, roomAccess: () => roomAccess })
  const room = core.rooms.ensure(newId())
  room.open({ orgId: 'acme', participants: ids.map((id) => `user:${id}`) })
  const sockets = ids.map((id) => {
    const { socket } = createFakeSocket()
    const caller: Caller = {
      type: 'user',
      id,
      orgId: 'acme',
      roles: ['member'],
      name: 'n'.repeat(200),
      picture: `https://pictures.example.com/${'p'.repeat(2_000)}`,
    }
    Object.assign(socket.data, { caller, key: `user:${id}`, orgId: 'acme' })
    room.add(socket, room.position)
    return socket
  })
  return { membership, room, sockets }
}

const allowing = (isAllowed: (id: string) => boolean, { callers, members }: InternalAuthorize) => ({
  exists: true,
  allowed: callers.map(({ id }) => isAllowed(id)),
  ...(members
    ? { members: callers.filter(({ id }) => isAllowed(id)).map(({ type, id }) => ({ type, id })) }
    : {}),
})

test('a removal from a full room is found however long the addresses of the pictures are', async () => {
  const ids = Array.from({ length: 1_000 }, (_, n) => `someone-${n}`)
  const { membership, room, sockets } = open(ids, (request) => {
    if (JSON.stringify(request).length > LIMITS.requestBytes) throw problem('payload_too_large')
    return allowing((id) => id !== 'someone-7', request)
  })
  membership.recheck(room)
  await vi.waitFor(() => expect(room.sockets.size).toBe(999))
  expect(sockets.filter((socket) => !room.sockets.has(socket))).toEqual([sockets[7]])
})

test('somebody added again while the participants were asked for stays', async () => {
  const asked = Promise.withResolvers<void>()
  const answered = Promise.withResolvers<void>()
  let calls = 0
  const { membership, room, sockets } = open(['ada', 'bob'], async (request) => {
    calls++
    if (calls > 1) return allowing(() => true, request)
    asked.resolve()
    await answered.promise
    return allowing((id) => id !== 'bob', request)
  })
  const [, bob] = sockets
  membership.recheck(room)
  await asked.promise
  membership.added(room, 'user:bob')
  answered.resolve()
  await vi.waitFor(() => expect(calls).toBe(2))
  expect([room.participants.has('user:bob'), bob && room.sockets.has(bob)]).toEqual([true, true])
})

test('an admin who was removed stays if the api lets them', async () => {
  let calls = 0
  const { membership, room, sockets } = open(['root'], ({ callers }) => {
    calls++
    return { exists: true, allowed: callers.map(isAdmin), members: [] }
  })
  for (const { data } of sockets) data.caller.roles.push('admin')
  membership.removed(room, 'user:root', sockets)
  await vi.waitFor(() => expect(calls).toBe(1))
  await new Promise(setImmediate)
  expect([...room.sockets]).toEqual(sockets)
  expect([...room.participants]).toEqual([])
})

test('nobody is asked again once the gateway has ended', async () => {
  vi.useFakeTimers()
  onTestFinished(() => void vi.useRealTimers())
  let calls = 0
  const { membership, room } = open(['ada'], () => {
    calls++
    throw problem('unavailable')
  })
  membership.recheck(room)
  await vi.advanceTimersByTimeAsync(700)
  expect(calls).toBe(2)
  membership.close()
  await vi.advanceTimersByTimeAsync(5_000)
  expect(calls).toBe(2)
})
