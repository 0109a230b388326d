import { type Caller, LIMITS } from '@parley/contract'
import { createLogger } from '@parley/service-kit'
import { afterEach, beforeEach, expect, it, onTestFinished, vi } from 'vitest'
import { createOutbound } from '../connection/outbound.ts'
import { createPeople } from '../connection/people.ts'
import { createLifecycle } from '../lifecycle.ts'
import type { RosterView } from '../presence/rosters.ts'
import type { Core } from '../services.ts'
import { createFakeApi, createFakeConversation, newId } from '../testing/fake-api.ts'
import { createFakeSocket } from '../testing/fake-socket.ts'
import { createDelivery } from './delivery.ts'
import { createRooms } from './rooms.ts'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

function open() {
  const fake = createFakeApi()
  const waits = new Map<string, number | undefined>()
  const { internal } = fake.api
  fake.api.internal = (path, body, options) => {
    waits.set(path, options?.timeoutMs)
    return internal(path, body, options)
  }
  const outbound = createOutbound()
  const core: Partial<Core> = {
    api: fake.api,
    outbound,
    rooms: createRooms({ outbound }),
    people: createPeople(),
    lifecycle: createLifecycle(),
    logger: createLogger({ name: 'test', level: 'silent' }),
  }
  const count = () => undefined
  const delivery = createDelivery(core as Core, { gap: count, fill: count, resync: count })
  onTestFinished(() => delivery.close())
  return { fake, delivery, waits, asked: (what: string) => fake.calls.filter((path) => path === what).length }
}

const ada = { type: 'user', id: 'ada' } as const

function openMember(orgId: string) {
  const { socket, written } = createFakeSocket()
  const caller: Caller = { ...ada, orgId, roles: ['member'], name: null, picture: null }
  Object.assign(socket, { connected: true })
  Object.assign(socket.data, { caller, key: 'user:ada', orgId })
  const nobody = { users: [], agents: [] }
  const view: RosterView = { now: () => nobody, join: () => nobody, close: () => undefined }
  return { socket, written, view }
}

it('a gateway asks the api once a second, however often the streams come and go meanwhile', async () => {
  const { fake, delivery, asked } = open()
  const answered = Promise.withResolvers<void>()
  // A conversation counts as followed while its join is unanswered.
  fake.beforeEach((path) => (path === '/internal/heads' ? answered.promise : new Promise(() => undefined)))
  const viewRoster = () => Promise.reject(new Error('nobody views'))
  const { socket } = createFakeSocket()
  void delivery.roomAccess.join(socket, { conversationId: newId() }, viewRoster, () => undefined)
  delivery.onTailState(false)
  await vi.advanceTimersByTimeAsync(1_000)
  expect(asked('/internal/heads')).toBe(1)
  delivery.onTailState(true)
  delivery.onTailState(false)
  answered.resolve()
  await vi.advanceTimersByTimeAsync(3_000)
  expect(asked('/internal/heads')).toBe(4)
})

it('a gateway finds within half a minute what was published only to another Redis, and leaves alone what is about to come', async () => {
  const { fake, delivery, waits, asked } = open()
  const conversation = fake.add(createFakeConversation('acme', [ada]))
  const { id: conversationId, orgId } = conversation
  const { socket, written, view } = openMember(orgId)
  delivery.onTailState(true)
  const joining = delivery.roomAccess.join(
    socket,
    { conversationId },
    () => Promise.resolve(view),
    () => undefined,
  )
  await vi.advanceTimersByTimeAsync(10)
  await joining
  conversation.add('told elsewhere')
  await vi.advanceTimersByTimeAsync(30_100)
  expect(written.join()).toContain('told elsewhere')
  expect([asked('/internal/heads'), asked('/internal/fill')]).toEqual([1, 1])

  fake.beforeEach((path) => {
    if (path !== '/internal/heads') return
    const message = conversation.add('on its way')
    const { seq } = message
    const data = JSON.stringify(message)
    setTimeout(() => {
      delivery.onEvents([{ type: 'message.created', at: '1-1', org: orgId, cid: conversationId, seq, data }])
    }, 10)
  })
  await vi.advanceTimersByTimeAsync(30_100)
  expect(written.join()).toContain('on its way')
  expect([asked('/internal/heads'), asked('/internal/fill')]).toEqual([2, 1])
  // If an api process hangs, what rooms wait for is soon asked of another.
  for (const path of ['join', 'heads', 'fill']) expect(waits.get(`/internal/${path}`)).toBe(3_000)
})

it('a join that was answered before events were lost is asked again', async () => {
  const { fake, delivery, asked } = open()
  const conversation = fake.add(createFakeConversation('acme', [ada]))
  const { socket, view } = openMember('acme')
  fake.afterEach(() => {
    fake.afterEach(() => undefined)
    conversation.add('lost')
    delivery.onLoss('control', Date.now())
  })
  const joining = delivery.roomAccess.join(
    socket,
    { conversationId: conversation.id },
    () => Promise.resolve(view),
    ({ lastSeq }) => lastSeq,
  )
  await vi.advanceTimersByTimeAsync(100)
  expect(await joining).toBe(1)
  expect(asked('/internal/join')).toBe(2)
})

it('a socket cannot join more conversations at once than it may be in', () => {
  const { fake, delivery } = open()
  const { socket, view } = openMember('acme')
  fake.beforeEach(() => new Promise(() => undefined))
  const ids = Array.from({ length: LIMITS.roomsPerSocket }, newId)
  for (const conversationId of ids) {
    delivery.roomAccess.assertSpace(socket, conversationId)
    void delivery.roomAccess.join(
      socket,
      { conversationId },
      () => Promise.resolve(view),
      () => undefined,
    )
  }
  expect(() => delivery.roomAccess.assertSpace(socket, ids[0] ?? '')).not.toThrow()
  expect(() => delivery.roomAccess.assertSpace(socket, newId())).toThrow(`${LIMITS.roomsPerSocket}`)
})

it('a socket that disconnects during its join enters no room', async () => {
  const { fake, delivery } = open()
  const { id: conversationId } = fake.add(createFakeConversation('acme', [ada]))
  const { socket, view } = openMember('acme')
  fake.afterEach(() => void Object.assign(socket, { connected: false }))
  const joining = delivery.roomAccess.join(
    socket,
    { conversationId },
    () => Promise.resolve(view),
    () => undefined,
  )
  const refused = expect(joining).rejects.toMatchObject({ code: 'unavailable' })
  await vi.advanceTimersByTimeAsync(100)
  await refused
  expect([socket.data.session.rooms.size, delivery.roomAccess.feed(conversationId)]).toEqual([0, undefined])
})
