import { setImmediate } from 'node:timers/promises'
import { type Caller, LIMITS, problem } from '@parley/contract'
import { createLogger } from '@parley/service-kit'
import { expect, test, vi } from 'vitest'
import { createRoomAccess } from '../delivery/room-access.ts'
import { createRooms } from '../delivery/rooms.ts'
import { conversationJoin } from '../events/conversation-join.ts'
import { createLifecycle } from '../lifecycle.ts'
import type { RosterView } from '../presence/rosters.ts'
import type { Services } from '../services.ts'
import { createFakeApi, createFakeConversation } from '../testing/fake-api.ts'
import { createFakeSocket } from '../testing/fake-socket.ts'
import { createAccept } from './accept.ts'
import { createOutbound } from './outbound.ts'
import { createPeople } from './people.ts'

const BOT = { type: 'agent', id: 'bot' } as const
const nothing = () => undefined

/** An agent's connection, and an api that answers it when it is told to. */
function open() {
  const fake = createFakeApi()
  const outbound = createOutbound()
  const core = {
    api: fake.api,
    outbound,
    rooms: createRooms({ outbound }),
    people: createPeople(),
    lifecycle: createLifecycle(),
    logger: createLogger({ name: 'test', level: 'silent' }),
  }
  const roomAccess = createRoomAccess(core, {
    fetch: () => Promise.reject(problem('not_found')),
    onUnsure: nothing,
    onSkipped: nothing,
    onMessage: nothing,
    onMessageChanged: nothing,
    metrics: { gap: nothing, fill: nothing, resync: nothing },
  })
  const nobody = { users: [], agents: [] }
  const viewRoster = async (): Promise<RosterView> => ({
    now: () => nobody,
    join: () => nobody,
    close: nothing,
  })
  const handler = conversationJoin({ roomAccess, presence: { viewRoster } } as unknown as Services)
  const { socket, written } = createFakeSocket()
  const caller: Caller = { ...BOT, orgId: 'acme', roles: ['member'], name: null, picture: null }
  Object.assign(socket, { connected: true, onAny: nothing, on: nothing })
  Object.assign(socket.data, { caller, type: BOT.type, key: 'agent:bot', orgId: 'acme' })
  const ready = Promise.withResolvers<void>()
  const joins = Promise.withResolvers<void>()
  fake.afterEach((path) => (path === '/internal/agents/ready' ? ready.promise : joins.promise))
  return {
    fake,
    socket,
    ready,
    joins,
    accept: createAccept(core, {
      roomAccess,
      expiry: { watch: nothing, stop: nothing },
      dispatch: nothing,
      viewRoster,
      forget: nothing,
    }),
    join: (conversationId: string) =>
      handler.read({ conversationId }).run(socket, { requestId: '', reply: (result) => result }),
    welcomed: () => written.filter((text) => text.includes('conversation:ready')).length,
  }
}

test('if an api process hangs, joins and an agent’s own conversation are soon asked of another', async () => {
  const { fake, socket, ready, joins, accept, join, welcomed } = open()
  fake.add(createFakeConversation('acme', [BOT], BOT.id))
  const others = [0, 1].map(() => fake.add(createFakeConversation('acme', [BOT])))
  const asked = vi.spyOn(fake.api, 'internal')
  ready.resolve()
  joins.resolve()
  await Promise.all(others.map(({ id }) => join(id)))
  accept(socket)
  await vi.waitFor(() => expect(welcomed()).toBe(1))
  expect(asked.mock.calls.map(([path, , options]) => [path, options?.timeoutMs])).toEqual([
    ['/internal/joins', 3_000],
    ['/internal/agents/ready', 3_000],
    ['/internal/join', 3_000],
  ])
})

test.for([
  ['which is one of them', 0],
  ['which comes on top', 1],
] as const)(
  'an agent that returns to as many conversations as it may be in is told of its own, %s',
  async ([, besides]) => {
    const { fake, socket, ready, joins, accept, join, welcomed } = open()
    const conversations = Array.from({ length: LIMITS.roomsPerSocket + besides }, (_, n) =>
      fake.add(createFakeConversation('acme', [BOT], n === 0 ? BOT.id : undefined)),
    )
    accept(socket)
    const answers = conversations.slice(besides).map(({ id }) => join(id))
    ready.resolve()
    await setImmediate()
    joins.resolve()
    await vi.waitFor(() => expect(welcomed()).toBe(1))
    expect(await Promise.allSettled(answers)).not.toContainEqual(
      expect.objectContaining({ status: 'rejected' }),
    )
  },
)
