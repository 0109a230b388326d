import type { ParticipantRef, ServerPayload } from '@parley/contract'
import type { Socket } from 'socket.io-client'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { createFakeApi, createFakeConversation, type FakeConversation } from '../testing/fake-api.ts'
import { startTestGateway } from '../testing/gateway.ts'
import { createLeases } from './leases.ts'
import type { Registration } from './registration.ts'
import { createPresenceWrites } from './writes.ts'

const ORG = 'acme'
const fake = createFakeApi()
let gateway: Awaited<ReturnType<typeof startTestGateway>>
/** Another gateway, as far as Redis knows of it. */
let elsewhere: { come(id: string, at: FakeConversation): Promise<void>; go: typeof elsewhere.come }
beforeAll(async () => {
  gateway = await startTestGateway(fake.api, { RATE_LIMIT_CONNECT: '0', RATE_LIMIT_EVENTS: '0' })
  const leases = createLeases(gateway.redis, { gatewayId: 'elsewhere', leaseMs: 600_000, settleMs: 0 })
  await leases.renew()
  const writes = createPresenceWrites(gateway.redis)
  const { generation = '' } = leases
  const registrations = (id: string, { id: conversationId, orgId }: FakeConversation): Registration[] => [
    { kind: 'room', conversationId, type: 'user', id },
    { kind: 'person', orgId, type: 'user', id, socket: `${id} ${conversationId}` },
  ]
  elsewhere = {
    async come(id, at) {
      await Promise.all(
        registrations(id, at).map((registration) => writes.add({ generation, registration, tell: true })),
      )
    },
    async go(id, at) {
      await Promise.all(
        registrations(id, at).map((registration) =>
          writes.remove({ generation, registration, always: false }),
        ),
      )
    },
  }
})
afterAll(() => gateway.close())

let rooms = 0
/** A conversation with this many people, under unique names. */
function newConversation(people: number) {
  const room = ++rooms
  const names = Array.from({ length: people }, (_, n) => `person-${room}-${n}`)
  const participants = names.map((id) => ({ type: 'user' as const, id }))
  const conversation = fake.add(createFakeConversation(ORG, participants))
  return { conversation, names, first: names[0] ?? '' }
}

async function join(name: string, { id: conversationId }: FakeConversation): Promise<Socket> {
  const socket = await gateway.connect(gateway.token(name, ORG))
  expect(await socket.emitWithAck('conversation:join', { conversationId })).toMatchObject({ ok: true })
  return socket
}

/** What one socket is told of comings and goings other than its own. */
async function openWatcher(name: string, conversation: FakeConversation) {
  const socket = await join(name, conversation)
  const single: string[] = []
  const together: ServerPayload<'room:aggregate'>[] = []
  const present = new Set<string>()
  const note = (what: string, id: string) => {
    if (id !== name) single.push(`${id} ${what}`)
  }
  socket.on('user:joined', ({ participantId }: ServerPayload<'user:joined'>) => {
    present.add(participantId)
    note('joined', participantId)
  })
  socket.on('user:left', ({ participantId }: ServerPayload<'user:left'>) => {
    present.delete(participantId)
    note('left', participantId)
  })
  socket.on('presence:update', ({ participantId, status }: ServerPayload<'presence:update'>) =>
    note(status, participantId),
  )
  socket.on('room:aggregate', (aggregate: ServerPayload<'room:aggregate'>) => {
    together.push(aggregate)
    for (const { id } of aggregate.joined) present.add(id)
    for (const { id } of aggregate.left) present.delete(id)
  })
  return {
    socket,
    single,
    together,
    present,
    /** Everyone named in the aggregates. */
    named: (transition: 'joined' | 'left' | 'online' | 'offline') =>
      together.flatMap((one): ParticipantRef[] => one[transition]).map(({ id }) => id),
  }
}

describe('coming and going', () => {
  it('is told one by one to a hundred sockets, and together from one more on', async () => {
    const { conversation, first, names } = newConversation(100)
    const [, bob = '', cyd = ''] = names
    const watcher = await openWatcher(first, conversation)
    await Promise.all(Array.from({ length: 99 }, () => join(first, conversation)))
    await elsewhere.come(bob, conversation)
    await vi.waitFor(() => expect(watcher.single.sort()).toEqual([`${bob} joined`, `${bob} online`]))

    const last = await join(first, conversation)
    await elsewhere.come(cyd, conversation)
    await vi.waitFor(() => expect(watcher.named('joined')).toEqual([cyd]))
    expect([watcher.named('online'), watcher.single.length]).toEqual([[cyd], 2])

    // As many as before, but an aggregate that waits is not overtaken by what follows it.
    await elsewhere.go(cyd, conversation)
    await last.emitWithAck('conversation:leave', { conversationId: conversation.id })
    await elsewhere.come(cyd, conversation)
    await elsewhere.go(bob, conversation)
    await vi.waitFor(() => expect(watcher.named('left')).toEqual([bob]))
    expect(watcher.present).toContain(cyd)
    await elsewhere.go(cyd, conversation)
    await vi.waitFor(() => expect(watcher.single).toContain(`${cyd} left`))
  })

  it('is one event or two when thirty come at once, and when they go', async () => {
    const { conversation, first, names } = newConversation(31)
    const watcher = await openWatcher(first, conversation)
    await Promise.all(Array.from({ length: 100 }, () => join(first, conversation)))
    const crowd = names.slice(1)
    await Promise.all(crowd.map((id) => elsewhere.come(id, conversation)))
    await vi.waitFor(() => {
      expect(watcher.named('joined').sort()).toEqual(crowd.toSorted())
      expect(watcher.named('online').sort()).toEqual(crowd.toSorted())
    })
    expect(watcher.together.length).toBeLessThanOrEqual(2)
    watcher.together.length = 0
    await Promise.all(crowd.map((id) => elsewhere.go(id, conversation)))
    await vi.waitFor(() => {
      expect(watcher.named('left').sort()).toEqual(crowd.toSorted())
      expect(watcher.named('offline').sort()).toEqual(crowd.toSorted())
    })
    expect(watcher.together.length).toBeLessThanOrEqual(2)
    expect(watcher.single).toEqual([])
  })

  it('is told one by one to a hundred people, on however many gateways, and together to one more', async () => {
    const { conversation, first, names } = newConversation(110)
    await Promise.all(names.slice(1, 99).map((id) => elsewhere.come(id, conversation)))
    const watcher = await openWatcher(first, conversation)
    const [hundredth = '', next = ''] = names.slice(99)
    await elsewhere.come(hundredth, conversation)
    await vi.waitFor(() => expect(watcher.single).toContain(`${hundredth} joined`))
    await elsewhere.come(next, conversation)
    await vi.waitFor(() => expect(watcher.named('joined')).toEqual([next]))
    expect(watcher.single).not.toContain(`${next} joined`)
    for (const id of [hundredth, next]) await elsewhere.go(id, conversation)
    await vi.waitFor(() => expect(watcher.named('left')).toContain(hundredth))
    await elsewhere.come(next, conversation)
    await vi.waitFor(() => expect(watcher.single).toContain(`${next} joined`))
  })

  it('is not told to those who open the room after it was closed', async () => {
    const { conversation, first, names } = newConversation(110)
    const [, bob = '', cyd = ''] = names
    const witness = newConversation(2)
    const [, dot = ''] = witness.names
    const others = await openWatcher(witness.first, witness.conversation)
    await Promise.all(names.slice(1).map((id) => elsewhere.come(id, conversation)))
    const before = await join(first, conversation)
    await elsewhere.go(bob, conversation)
    await elsewhere.come(dot, witness.conversation)
    await vi.waitFor(() => expect(others.present).toContain(dot))
    await before.emitWithAck('conversation:leave', { conversationId: conversation.id })
    await elsewhere.come(bob, conversation)
    const newcomer = await openWatcher(first, conversation)
    await elsewhere.go(cyd, conversation)
    await vi.waitFor(() => expect(newcomer.named('left')).toContain(cyd))
    expect(newcomer.named('left')).toEqual([cyd])
  })
})
