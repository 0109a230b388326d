import type { Change, Message, NewMessage } from '@parley/contract'
import fc from 'fast-check'
import type { Socket } from 'socket.io-client'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { createFakeApi, createFakeConversation, type FakeConversation } from '../testing/fake-api.ts'
import { startTestGateway } from '../testing/gateway.ts'
import { GAP_MS } from './feed.ts'

const ORG = 'acme'
const ADA = { type: 'user', id: 'ada' } as const
const BOB = { type: 'user', id: 'bob' } as const

const fake = createFakeApi()
let gateway: Awaited<ReturnType<typeof startTestGateway>>
beforeAll(async () => {
  gateway = await startTestGateway(fake.api, { RATE_LIMIT_EVENTS: '0', RATE_LIMIT_CONNECT: '0' })
})
afterAll(() => gateway.close())

const newConversation = () => fake.add(createFakeConversation(ORG, [ADA, BOB]))
const created = (conversation: FakeConversation, message: Message) =>
  gateway.event('message.created', conversation, { seq: message.seq, data: message })
const voided = (conversation: FakeConversation, seq: number) =>
  gateway.event('message.void', conversation, { seq })
const edited = (conversation: FakeConversation, message: Message) =>
  gateway.event('message.updated', conversation, { change: message.changeSeq, data: message })

const bobRemoved = (conversation: FakeConversation, change: number) =>
  gateway.event('participant.removed', conversation, {
    change,
    member: 'user:bob',
    data: { participant: BOB, conversation: conversation.view() },
  })

const bobAdded = (conversation: FakeConversation, change: number) =>
  gateway.event('participant.added', conversation, {
    change,
    member: 'user:bob',
    data: { participant: BOB, conversation: conversation.view() },
  })

/** What a client of the contract holds: messages by seq, and what it must complain about. */
async function openClient(name = 'ada') {
  const socket = await gateway.connect(gateway.token(name, ORG))
  const seqs: number[] = []
  const changes: number[] = []
  const faults: string[] = []
  let joined: { lastSeq: number; changeSeq: number } | null = null
  socket.on('message:new', ({ seq, prevSeq }: NewMessage) => {
    const held = seqs.at(-1) ?? joined?.lastSeq ?? 0
    if (!joined) faults.push(`${seq} before the acknowledgement`)
    if (seq <= held) faults.push(`${seq} after ${held}`)
    if (prevSeq > held) faults.push(`a gap before ${seq}: ${held} … ${prevSeq}`)
    seqs.push(seq)
  })
  const onChange = (number: number) => {
    const held = changes.at(-1) ?? joined?.changeSeq ?? 0
    if (number <= held) faults.push(`change ${number} after ${held}`)
    changes.push(number)
  }
  socket.on('message:updated', ({ changeSeq }: Message) => onChange(changeSeq))
  socket.on('conversation:updated', ({ changeSeq }: { changeSeq: number }) => onChange(changeSeq))
  return {
    socket,
    seqs,
    changes,
    faults,
    async join(conversation: FakeConversation, from: { afterSeq?: number; afterChangeSeq?: number } = {}) {
      const answer = await socket.emitWithAck('conversation:join', {
        conversationId: conversation.id,
        ...from,
      })
      expect(answer.ok).toBe(true)
      joined = { lastSeq: answer.lastSeq, changeSeq: answer.changeSeq }
      if (from.afterSeq !== undefined && !answer.hasMore) {
        for (const { seq } of answer.messages as Message[]) seqs.push(seq)
      }
      if (from.afterChangeSeq !== undefined && !answer.hasMore) {
        for (const { changeSeq } of answer.changes as Change[]) changes.push(changeSeq)
      }
      return answer
    },
  }
}

/** Runs once the next join's answer is made, before the gateway has it. */
function onceJoinIsAnswered(run: () => Promise<void>): void {
  fake.afterEach(async (path) => {
    if (path !== '/internal/join') return
    fake.afterEach(() => undefined)
    await run()
  })
}

const storedSeqs = ({ messages }: FakeConversation) =>
  messages.flatMap((message) => (message ? [message.seq] : []))

const once = (socket: Socket, event: string) => new Promise<unknown>((resolve) => socket.once(event, resolve))

describe('delivery', () => {
  it('brings a message to everyone in the room, with the seq of the one before it', async () => {
    const conversation = newConversation()
    const [ada, bob] = [await openClient('ada'), await openClient('bob')]
    await ada.join(conversation)
    await bob.join(conversation)
    await gateway.publish([created(conversation, conversation.add('one'))])
    conversation.addVoid()
    await gateway.publish([voided(conversation, 2), created(conversation, conversation.add('three'))])
    await vi.waitFor(() =>
      expect([ada.seqs, bob.seqs]).toEqual([
        [1, 3],
        [1, 3],
      ]),
    )
    expect([...ada.faults, ...bob.faults]).toEqual([])
  })

  it('asks once for what the stream left out, and keeps the order', async () => {
    const conversation = newConversation()
    const ada = await openClient()
    await ada.join(conversation)
    fake.calls.length = 0
    conversation.add('lost')
    conversation.add('lost too')
    await gateway.publish([created(conversation, conversation.add('three'))])
    await vi.waitFor(() => expect(ada.seqs).toEqual([1, 2, 3]))
    expect(ada.faults).toEqual([])
    expect(fake.calls).toEqual(['/internal/fill'])
  })

  it('waits for a late entry instead of asking', async () => {
    const conversation = newConversation()
    const ada = await openClient()
    await ada.join(conversation)
    let tookMs = Number.POSITIVE_INFINITY
    // If the machine takes longer than a gap may last, asking is right, and proves nothing.
    while (tookMs > GAP_MS) {
      fake.calls.length = 0
      const [one, two] = [conversation.add('one'), conversation.add('two')]
      const begun = performance.now()
      await gateway.publish([created(conversation, two)])
      await gateway.publish([created(conversation, one)])
      await vi.waitFor(() => expect(ada.seqs).toEqual(storedSeqs(conversation)), { interval: 5 })
      tookMs = performance.now() - begun
    }
    expect(fake.calls).toEqual([])
  })

  it('keeps trying to fill while the api is away', async () => {
    const conversation = newConversation()
    const ada = await openClient()
    await ada.join(conversation)
    conversation.add('lost')
    fake.setAway(true)
    await gateway.publish([created(conversation, conversation.add('two'))])
    await vi.waitFor(() =>
      expect(fake.calls.filter((path) => path === '/internal/fill').length).toBeGreaterThan(2),
    )
    expect(ada.seqs).toEqual([])
    fake.setAway(false)
    await vi.waitFor(() => expect(ada.seqs).toEqual([1, 2]))
  })

  it('fetches what was too large for the stream', async () => {
    const conversation = newConversation()
    const ada = await openClient()
    await ada.join(conversation)
    const message = conversation.add('x'.repeat(20_000))
    const news = once(ada.socket, 'message:new')
    await gateway.publish([created(conversation, message)])
    expect(await news).toMatchObject({ seq: 1, prevSeq: 0, content: message.content })
  })

  it('a join while messages pass misses none and repeats none', async () => {
    const conversation = newConversation()
    const first = await openClient('ada')
    await first.join(conversation)
    // Each of these is stored and published while the api's answer is on its way.
    fake.beforeEach(async (path) => {
      if (path !== '/internal/join') return
      await gateway.publish([created(conversation, conversation.add('before the answer'))])
    })
    for (let round = 0; round < 5; round++) {
      const client = await openClient('bob')
      await client.join(conversation, { afterSeq: 0 })
      await gateway.publish([created(conversation, conversation.add('after'))])
      await vi.waitFor(() => expect(client.seqs).toEqual(storedSeqs(conversation)))
      expect(client.faults).toEqual([])
      client.socket.disconnect()
    }
    fake.beforeEach(() => undefined)
    await vi.waitFor(() => expect(first.seqs).toEqual(storedSeqs(conversation)))
    expect(first.faults).toEqual([])
  })

  it('a join that is answered before the stream catches up gets nothing twice', async () => {
    const conversation = newConversation()
    const first = await openClient('ada')
    await first.join(conversation)
    const message = conversation.add('stored, not yet on the stream')
    const late = await openClient('bob')
    const answer = await late.join(conversation, { afterSeq: 0 })
    expect(answer).toMatchObject({ lastSeq: 1 })
    await gateway.publish([created(conversation, message), created(conversation, conversation.add('next'))])
    await vi.waitFor(() => expect(late.seqs).toEqual([1, 2]))
    await vi.waitFor(() => expect(first.seqs).toEqual([1, 2]))
    expect([...late.faults, ...first.faults]).toEqual([])
  })

  it('joining again without asking for messages leaves none of them out', async () => {
    const conversation = newConversation()
    const ada = await openClient()
    await ada.join(conversation, { afterSeq: 0, afterChangeSeq: 0 })
    const message = conversation.add('stored, not yet on the stream')
    const latest = conversation.edit(message)
    const { conversationId } = message
    expect(await ada.socket.emitWithAck('conversation:join', { conversationId })).toMatchObject({
      lastSeq: 1,
    })
    await gateway.publish([created(conversation, message), edited(conversation, latest)])
    await gateway.publish([created(conversation, conversation.add('next'))])
    await vi.waitFor(() => expect(ada.seqs).toEqual([1, 2]))
    expect([ada.changes, ada.faults]).toEqual([[1], []])
  })

  it('tells a later state of a message once', async () => {
    const conversation = newConversation()
    const message = conversation.add('one')
    const ada = await openClient()
    await ada.join(conversation)
    conversation.edit(message)
    const latest = conversation.edit(message)
    // The relay writes the current state for both numbers.
    await gateway.publish([
      gateway.event('message.updated', conversation, { change: 1, data: latest }),
      gateway.event('message.updated', conversation, { change: 2, data: latest }),
    ])
    await vi.waitFor(() => expect(ada.changes).toEqual([2]))
    expect(ada.faults).toEqual([])
  })

  it('takes a removed participant out of the room at once, and out of no other', async () => {
    const conversation = newConversation()
    const [ada, bob] = [await openClient('ada'), await openClient('bob')]
    await ada.join(conversation)
    await bob.join(conversation)
    const removed = once(bob.socket, 'conversation:removed')
    const change = conversation.remove(BOB)
    await gateway.publish([bobRemoved(conversation, change)])
    expect(await removed).toEqual({ conversationId: conversation.id, reason: 'removed' })
    await gateway.publish([created(conversation, conversation.add('among ourselves'))])
    await vi.waitFor(() => expect(ada.seqs).toEqual([1]))
    expect(bob.seqs).toEqual([])
    expect(ada.changes).toEqual([1])
  })

  it('a fill shows who was removed while the stream was silent', async () => {
    const conversation = newConversation()
    const [ada, bob] = [await openClient('ada'), await openClient('bob')]
    await ada.join(conversation)
    await bob.join(conversation)
    const removed = once(bob.socket, 'conversation:removed')
    conversation.remove(BOB)
    await gateway.publish([edited(conversation, conversation.edit(conversation.add('two')))])
    expect(await removed).toMatchObject({ reason: 'removed' })
    await vi.waitFor(() => expect(ada.seqs).toEqual([1]))
  })

  it('a removal during a join wins', async () => {
    const conversation = newConversation()
    const bob = await openClient('bob')
    const ada = await openClient('ada')
    await ada.join(conversation)
    onceJoinIsAnswered(async () => {
      const change = conversation.remove(BOB)
      await gateway.publish([bobRemoved(conversation, change)])
      await vi.waitFor(() => expect(ada.changes).toEqual([1]))
    })
    const answer = await bob.socket.emitWithAck('conversation:join', { conversationId: conversation.id })
    expect(answer).toMatchObject({ ok: false, error: { code: 'not_found' } })
  })

  it('a removal known only from a fill wins over a join that the api has answered', async () => {
    const conversation = newConversation()
    const [ada, bob] = [await openClient('ada'), await openClient('bob')]
    await ada.join(conversation)
    onceJoinIsAnswered(async () => {
      conversation.remove(BOB)
      await gateway.publish([edited(conversation, conversation.edit(conversation.add('one')))])
      await vi.waitFor(() => expect(ada.changes.at(-1)).toBe(2))
    })
    const answer = await bob.socket.emitWithAck('conversation:join', { conversationId: conversation.id })
    expect(answer).toMatchObject({ ok: false, error: { code: 'not_found' } })
  })

  it('a removal that the room is already past still takes out those who came in meanwhile', async () => {
    const conversation = newConversation()
    const [ada, bob] = [await openClient('ada'), await openClient('bob')]
    await ada.join(conversation)
    const change = conversation.remove(BOB)
    await gateway.publish([edited(conversation, conversation.edit(conversation.add('one')))])
    await vi.waitFor(() => expect(ada.changes.at(-1)).toBe(2))
    // Let in by an earlier answer.
    conversation.participants.push(BOB)
    await bob.join(conversation)
    conversation.participants.pop()
    const removed = once(bob.socket, 'conversation:removed')
    await gateway.publish([bobRemoved(conversation, change)])
    expect(await removed).toEqual({ conversationId: conversation.id, reason: 'removed' })
  })

  it('a removal that the room has yet to hear of leaves in it who came in after being added again', async () => {
    const conversation = newConversation()
    const [ada, bob] = [await openClient('ada'), await openClient('bob')]
    await ada.join(conversation)
    const removed = conversation.remove(BOB)
    conversation.participants.push(BOB)
    const added = conversation.touch()
    await bob.join(conversation)
    const removals: unknown[] = []
    bob.socket.on('conversation:removed', (removal: unknown) => removals.push(removal))
    await gateway.publish([bobRemoved(conversation, removed), bobAdded(conversation, added)])
    await vi.waitFor(() => expect(ada.changes).toEqual([removed, added]))
    await gateway.publish([created(conversation, conversation.add('to both'))])
    await vi.waitFor(() => expect([ada.seqs, bob.seqs]).toEqual([[1], [1]]))
    expect(removals).toEqual([])
  })

  /**
   * What somebody who is in no room is told of their part in conversations; `settle` waits for all that was published.
   */
  async function openOutsider() {
    const bob = await openClient('bob')
    const told: string[] = []
    bob.socket.on('conversation:removed', ({ reason }: { reason: string }) => told.push(reason))
    return {
      told,
      async settle() {
        const last = once(bob.socket, 'conversation:added')
        const other = newConversation()
        const fields = { to: ['user:bob'], data: other.view() }
        await gateway.publish([gateway.event('conversation.created', other, fields)])
        await last
      },
    }
  }
  const somethingElse = (conversation: FakeConversation) =>
    edited(conversation, conversation.edit(conversation.add('text')))

  it.for([
    [
      'a fill',
      async (conversation) => {
        await (await openClient('ada')).join(conversation)
        conversation.remove(BOB)
        await gateway.publish([somethingElse(conversation)])
      },
    ],
    [
      'a check',
      async (conversation) => {
        await (await openClient('ada')).join(conversation)
        const root = await gateway.connect(gateway.token('root', ORG, { roles: ['admin'] }))
        await root.emitWithAck('conversation:join', { conversationId: conversation.id })
        conversation.remove(BOB)
        await root.emitWithAck('auth:refresh', { token: gateway.token('root', ORG) })
      },
    ],
    [
      'the first join',
      async (conversation) => {
        conversation.remove(BOB)
        await (await openClient('ada')).join(conversation)
      },
    ],
  ] satisfies [string, (conversation: FakeConversation) => Promise<void>][])(
    'tells a removed participant once, also if %s comes before the event',
    async ([way, hear]) => {
      const conversation = newConversation()
      const bob = await openOutsider()
      await hear(conversation)
      if (way !== 'the first join') await vi.waitFor(() => expect(bob.told).toEqual(['removed']))
      await gateway.publish([bobRemoved(conversation, 1)])
      await bob.settle()
      expect(bob.told).toEqual(['removed'])
    },
  )

  it('does not tell somebody who was added again that they were removed, however late it hears of that', async () => {
    const conversation = newConversation()
    const bob = await openOutsider()
    const ada = await openClient('ada')
    await ada.join(conversation)
    const removed = conversation.remove(BOB)
    conversation.participants.push(BOB)
    conversation.touch()
    await gateway.publish([somethingElse(conversation)])
    await vi.waitFor(() => expect(ada.changes.at(-1)).toBe(3))
    await gateway.publish([bobRemoved(conversation, removed)])
    await bob.settle()
    expect(bob.told).toEqual([])
  })

  it('a check after one removal leaves the others in the room', async () => {
    const conversation = newConversation()
    const [bob, ada] = [await openClient('bob'), await openClient('ada')]
    await bob.join(conversation)
    await ada.join(conversation)
    const removals: unknown[] = []
    ada.socket.on('conversation:removed', (removal: unknown) => removals.push(removal))
    const removed = once(bob.socket, 'conversation:removed')
    fake.afterEach((path) => {
      if (path !== '/internal/authorize') return
      fake.afterEach(() => undefined)
      conversation.remove(BOB)
    })
    conversation.touch()
    await gateway.publish([edited(conversation, conversation.edit(conversation.add('one')))])
    await vi.waitFor(() => expect(conversation.participants).toEqual([ADA]))
    await gateway.publish([bobRemoved(conversation, conversation.changeSeq)])
    expect(await removed).toMatchObject({ reason: 'removed' })
    await gateway.publish([created(conversation, conversation.add('two'))])
    await vi.waitFor(() => expect(ada.seqs).toEqual([1, 2]))
    expect(removals).toEqual([])
  })

  it('tells those added or removed also when the event has no space for the conversation', async () => {
    const conversation = newConversation()
    const bob = await openClient('bob')
    const stranger = await gateway.connect(gateway.token('bob', 'elsewhere'))
    const heard: unknown[] = []
    for (const socket of [bob.socket, stranger]) {
      socket.onAny((event: string, payload: { conversation?: { id: string }; conversationId?: string }) => {
        const where = payload.conversation?.id ?? payload.conversationId
        heard.push([event, where, socket === stranger])
      })
    }
    const event = gateway.event
    const change = conversation.touch()
    await gateway.publish([event('participant.added', conversation, { change, member: 'user:bob' })])
    await vi.waitFor(() => expect(heard).toHaveLength(1))
    const next = conversation.touch()
    await gateway.publish([event('participant.removed', conversation, { change: next, member: 'user:bob' })])
    await vi.waitFor(() => expect(heard).toHaveLength(2))
    await gateway.publish([event('conversation.created', conversation, { to: ['user:ada', 'user:bob'] })])
    await vi.waitFor(() => expect(heard).toHaveLength(3))
    expect(heard).toEqual([
      ['conversation:added', conversation.id, false],
      ['conversation:removed', conversation.id, false],
      ['conversation:added', conversation.id, false],
    ])
  })

  it('tells those added also when the room is already past that, if they still take part', async () => {
    const conversation = newConversation()
    conversation.touch()
    const [ada, bob, eve] = [await openClient('ada'), await openClient('bob'), await openClient('eve')]
    await ada.join(conversation)
    const heard: string[] = []
    bob.socket.on('conversation:added', () => heard.push('bob'))
    eve.socket.on('conversation:added', () => heard.push('eve'))
    const added = (id: string) =>
      gateway.event('participant.added', conversation, {
        change: 1,
        member: `user:${id}`,
        data: { participant: { type: 'user', id }, conversation: conversation.view() },
      })
    await gateway.publish([added('eve'), added('bob')])
    await vi.waitFor(() => expect(heard).toEqual(['bob']))
  })

  it('gives a joiner the messages as the room was told them, even one that does not ask for changes', async () => {
    const conversation = newConversation()
    const ada = await openClient('ada')
    await ada.join(conversation)
    const message = conversation.add('unedited')
    await gateway.publish([created(conversation, message)])
    onceJoinIsAnswered(async () => {
      await gateway.publish([edited(conversation, conversation.edit(message))])
      await vi.waitFor(() => expect(ada.changes).toEqual([1]))
    })
    const bob = await openClient('bob')
    const answer = await bob.join(conversation, { afterSeq: 0 })
    expect(answer).toMatchObject({ changeSeq: 1, messages: [{ seq: 1, content: 'edit 1' }] })
  })

  it('fetches nothing for a join that asks for nothing, however much happens meanwhile', async () => {
    const conversation = newConversation()
    const ada = await openClient('ada')
    await ada.join(conversation)
    const message = conversation.add('edited again and again')
    await gateway.publish([created(conversation, message)])
    onceJoinIsAnswered(async () => {
      await gateway.publish(
        Array.from({ length: 100 }, () => edited(conversation, conversation.edit(message))),
      )
      await vi.waitFor(() => expect(ada.changes.at(-1)).toBe(100))
    })
    const bob = await openClient('bob')
    const answer = await bob.join(conversation)
    expect(answer).toMatchObject({ changeSeq: 100, messages: [], changes: [], hasMore: false })
  })

  it('is told of somebody who was added while the first join was under way', async () => {
    const conversation = fake.add(createFakeConversation(ORG, [ADA]))
    const [ada, dora] = [await openClient('ada'), await openClient('dora')]
    onceJoinIsAnswered(async () => {
      const told = once(dora.socket, 'conversation:added')
      conversation.participants.push({ type: 'user', id: 'carl' })
      await gateway.publish([
        gateway.event('participant.added', conversation, {
          change: conversation.touch(),
          member: 'user:carl',
          data: { participant: { type: 'user', id: 'carl' }, conversation: conversation.view() },
        }),
        gateway.event('conversation.created', conversation, {
          to: ['user:dora'],
          data: conversation.view(),
        }),
      ])
      await told
    })
    await ada.join(conversation)
    const came = once(ada.socket, 'presence:update')
    await openClient('carl')
    expect(await came).toMatchObject({ userId: 'carl', status: 'online' })
  })

  it('is told of somebody whose addition was lost while its only socket was joining again', async () => {
    const conversation = fake.add(createFakeConversation(ORG, [ADA]))
    const [before, ada] = [await openClient('ada'), await openClient('ada')]
    await before.join(conversation)
    onceJoinIsAnswered(async () => {
      await before.socket.emitWithAck('conversation:leave', { conversationId: conversation.id })
      conversation.participants.push({ type: 'user', id: 'cleo' })
      conversation.touch()
      fake.calls.length = 0
      await gateway.publish([edited(conversation, conversation.edit(conversation.add('one')))])
      await vi.waitFor(() => expect(fake.calls).toContain('/internal/fill'))
    })
    await ada.join(conversation)
    const came = once(ada.socket, 'presence:update')
    await openClient('cleo')
    expect(await came).toMatchObject({ userId: 'cleo', status: 'online' })
  })

  it('tells an agent the state of its conversation exactly as of where its events continue', async () => {
    const bot = { type: 'agent', id: 'bot' } as const
    const conversation = fake.add(createFakeConversation(ORG, [bot], bot.id))
    const first = conversation.add('one')
    fake.afterEach(async (path) => {
      if (path !== '/internal/agents/ready') return
      fake.afterEach(() => undefined)
      await gateway.publish([created(conversation, first), created(conversation, conversation.add('two'))])
      await gateway.publish([edited(conversation, conversation.edit(first))])
    })
    const heard: [string, number][] = []
    const socket = await gateway.connect(gateway.token(bot.id, ORG, { type: bot.type }))
    socket.on('conversation:ready', (ready: { conversation: { lastSeq: number } }) =>
      heard.push(['ready', ready.conversation.lastSeq]),
    )
    socket.on('message:new', ({ seq, prevSeq }: NewMessage) => heard.push([`after ${prevSeq}`, seq]))
    socket.on('message:updated', ({ changeSeq }: Message) => heard.push(['change', changeSeq]))
    await vi.waitFor(() => expect(heard).toHaveLength(3))
    await gateway.publish([created(conversation, conversation.add('three'))])
    await vi.waitFor(() => expect(heard).toHaveLength(4))
    expect(heard).toEqual([
      ['ready', 1],
      ['after 1', 2],
      ['change', 1],
      ['after 2', 3],
    ])
    socket.disconnect()
  })

  it('tells nobody that they were added if their removal came first', async () => {
    const conversation = newConversation()
    const [ada, bob] = [await openClient('ada'), await openClient('bob')]
    await ada.join(conversation)
    const heard: string[] = []
    bob.socket.onAny((event: string) => heard.push(event))
    const added = bobAdded(conversation, conversation.touch())
    await gateway.publish([bobRemoved(conversation, conversation.remove(BOB)), added])
    await vi.waitFor(() => expect(ada.changes).toEqual([1, 2]))
    await bob.socket.emitWithAck('conversation:online', { conversationId: conversation.id })
    expect(heard).toEqual(['conversation:removed'])
  })

  it.for(['removed', 'deleted'] as const)(
    'tells nobody that they were added once they were told that they are out, however long the api takes: %s',
    async (reason) => {
      const conversation = newConversation()
      const bob = await openClient('bob')
      const heard: string[] = []
      bob.socket.on('conversation:added', () => heard.push('added'))
      bob.socket.on('conversation:removed', () => heard.push('removed'))
      fake.afterEach(async (path) => {
        if (path !== '/internal/added') return
        fake.afterEach(() => undefined)
        const change = conversation.remove(BOB)
        const end = gateway.event('conversation.deleted', conversation, { change, to: ['user:bob'] })
        await gateway.publish([reason === 'removed' ? bobRemoved(conversation, change) : end])
        await vi.waitFor(() => expect(heard).toEqual(['removed']))
      })
      const { event } = gateway
      const change = conversation.touch()
      await gateway.publish([event('participant.added', conversation, { change, member: 'user:bob' })])
      await vi.waitFor(() => expect(heard).toContain('removed'))
      await bob.socket.emitWithAck('conversation:online', { conversationId: conversation.id })
      expect(heard).toEqual(['removed'])
    },
  )

  it('tells nobody what a later event has undone, whether or not anybody follows the conversation', async () => {
    for (const isFollowed of [false, true]) {
      const [left, stayed] = [fake.add(createFakeConversation(ORG, [ADA])), newConversation()]
      const [ada, bob] = [await openClient('ada'), await openClient('bob')]
      if (isFollowed) await Promise.all([ada.join(left), ada.join(stayed)])
      const heard: unknown[] = []
      bob.socket.on('conversation:added', ({ conversation }) => heard.push(['added', conversation.id]))
      bob.socket.on('conversation:removed', (removal) => heard.push(['removed', removal.conversationId]))
      await gateway.publish([bobRemoved(left, 2), bobAdded(left, 1), bobRemoved(left, 3)])
      await vi.waitFor(() => expect(heard).toHaveLength(2))
      await gateway.publish([bobAdded(stayed, 2), bobRemoved(stayed, 1), bobAdded(stayed, 3)])
      await vi.waitFor(() => expect(heard).toHaveLength(4))
      const removed = ['removed', left.id]
      const added = ['added', stayed.id]
      expect(heard).toEqual([removed, removed, added, added])
    }
  })

  it('never lowers a read position, until the person is added anew', async () => {
    const conversation = newConversation()
    const ada = await openClient('ada')
    await ada.join(conversation)
    const told: number[] = []
    ada.socket.on('message:receipt', ({ readSeq }: { readSeq: number }) => told.push(readSeq))
    const read = (readSeq: number) =>
      gateway.event('receipt.read', conversation, { data: { ...BOB, readSeq } })
    const left = gateway.event('participant.removed', conversation, { change: 1, member: 'user:bob' })
    await gateway.publish([read(4), read(2), read(4), read(5), left, read(1)])
    await vi.waitFor(() => expect(told).toEqual([4, 5, 1]))
    // What they had read before may be published after they left.
    await gateway.publish([read(5), bobAdded(conversation, 2), read(3)])
    await vi.waitFor(() => expect(told).toEqual([4, 5, 1, 5, 3]))
  })

  it('never says that somebody has read less than the first join showed', async () => {
    const conversation = newConversation()
    conversation.readSeqs.set('user:bob', 7)
    const ada = await openClient('ada')
    await ada.join(conversation)
    const told: number[] = []
    ada.socket.on('message:receipt', ({ readSeq }: { readSeq: number }) => told.push(readSeq))
    const read = (readSeq: number) =>
      gateway.event('receipt.read', conversation, { data: { ...BOB, readSeq } })
    await gateway.publish([read(5), read(8)])
    await vi.waitFor(() => expect(told.at(-1)).toBe(8))
    expect(told).toEqual([8])
  })

  it('tells what somebody reads who came anew, also where the room was past that already', async () => {
    const conversation = newConversation()
    const ada = await openClient('ada')
    await ada.join(conversation)
    const told: number[] = []
    ada.socket.on('message:receipt', ({ readSeq }: { readSeq: number }) => told.push(readSeq))
    const read = (readSeq: number) =>
      gateway.event('receipt.read', conversation, { data: { ...BOB, readSeq } })
    await gateway.publish([read(5)])
    const removed = conversation.remove(BOB)
    conversation.participants.push(BOB)
    const added = conversation.touch()
    await gateway.publish([somethingElse(conversation)])
    await vi.waitFor(() => expect(ada.changes.at(-1)).toBe(3))
    const [again, late] = [bobAdded(conversation, added), bobAdded(conversation, added)]
    await gateway.publish([bobRemoved(conversation, removed), again, read(3), late, read(2), read(4)])
    await vi.waitFor(() => expect(told).toEqual([5, 3, 4]))
  })

  it('shows who joins what was read while the answer was on its way', async () => {
    for (const heard of ['conversation:activity', 'message:new']) {
      const conversation = newConversation()
      const [ada, bob] = [await openClient('ada'), await openClient('bob')]
      if (heard === 'message:new') await bob.join(conversation)
      onceJoinIsAnswered(async () => {
        const read = gateway.event('receipt.read', conversation, { data: { ...BOB, readSeq: 1 } })
        const message = conversation.add('one')
        const sent = gateway.event('message.created', conversation, {
          seq: message.seq,
          data: message,
          to: ['user:bob'],
        })
        await Promise.all([once(bob.socket, heard), gateway.publish([read, sent])])
      })
      const { receipts } = await ada.join(conversation)
      expect(receipts).toMatchObject([
        { participantId: 'ada', readSeq: 0 },
        { participantId: 'bob', readSeq: 1 },
      ])
    }
  })

  it('shows a joiner what they read elsewhere while the answer was on its way', async () => {
    const conversation = newConversation()
    const [ada, bob] = [await openClient('ada'), await openClient('bob')]
    await bob.join(conversation)
    const message = conversation.add('one')
    onceJoinIsAnswered(async () => {
      const read = gateway.event('receipt.read', conversation, { data: { ...ADA, readSeq: 1 } })
      await Promise.all([
        once(bob.socket, 'message:new'),
        gateway.publish([read, created(conversation, message)]),
      ])
    })
    expect(await ada.join(conversation)).toMatchObject({ lastSeq: 1, readSeq: 1, unread: 0 })
  })

  it('counts as unread for a joiner what came while the answer was on its way', async () => {
    const conversation = newConversation()
    const [ada, bob] = [await openClient('ada'), await openClient('bob')]
    await bob.join(conversation)
    onceJoinIsAnswered(async () => {
      const message = created(conversation, conversation.add('one'))
      await Promise.all([once(bob.socket, 'message:new'), gateway.publish([message])])
    })
    expect(await ada.join(conversation)).toMatchObject({ lastSeq: 1, readSeq: 0, unread: 1 })
  })

  it('tells those who are not in the room what happens, at most once a second, without what was deleted by then', async () => {
    const conversation = newConversation()
    const bob = await openClient('bob')
    const heard: unknown[] = []
    bob.socket.on('conversation:activity', (activity: unknown) => heard.push(activity))
    const to = ['user:ada', 'user:bob']
    const sent = ['one', 'two', 'three', 'four'].map((text) => {
      const message = conversation.add(text)
      return gateway.event('message.created', conversation, { seq: message.seq, data: message, to })
    })
    const [, , , four] = conversation.messages
    const deleted = { ...four, content: '', changeSeq: 1, deletedAt: new Date(0).toISOString() }
    // At once, so that they come within the second also where the machine is slow.
    await gateway.publish([
      ...sent,
      gateway.event('message.deleted', conversation, { change: 1, data: deleted }),
    ])
    await vi.waitFor(() => expect(heard).toHaveLength(2))
    expect(heard).toMatchObject([
      { lastSeq: 1, lastMessage: { preview: 'one' } },
      { lastSeq: 4, lastMessage: { preview: '' } },
    ])
  })

  /** A client that fetches what a `resync` skipped; `told` has what it was told. */
  async function openFollower(conversation: FakeConversation) {
    const client = await openClient()
    const told: unknown[] = []
    client.socket.on('resync', (resync: unknown) => {
      told.push(resync)
      client.seqs.splice(0, Number.POSITIVE_INFINITY, ...storedSeqs(conversation))
      client.changes.splice(0, Number.POSITIVE_INFINITY, conversation.changeSeq)
    })
    await client.join(conversation)
    return { ...client, told }
  }
  const someFrom = (first: number, count: number) => Array.from({ length: count }, (_, n) => first + n)

  it('fetches a thousand messages for a room, and tells it to fetch one more itself, once', async () => {
    const conversation = newConversation()
    const ada = await openFollower(conversation)
    const behind = async (count: number) => {
      for (let n = 1; n < count; n++) conversation.add('lost')
      await gateway.publish([created(conversation, conversation.add('last'))])
      await vi.waitFor(() => expect(ada.seqs.at(-1)).toBe(conversation.messages.length))
    }
    await behind(1_000)
    expect([ada.told, ada.seqs]).toEqual([[], someFrom(1, 1_000)])
    await behind(1_001)
    const resync = { conversationId: conversation.id, reason: 'behind' }
    expect(ada.told).toEqual([resync])
    for (let n = 0; n < 3; n++) await behind(1)
    expect([ada.told, ada.seqs, ada.faults]).toEqual([[resync], someFrom(1, 2_004), []])
  })

  it('fetches a thousand changes for a room; one more ends in a resync', async () => {
    const conversation = newConversation()
    const message = conversation.add('edited again and again')
    const ada = await openFollower(conversation)
    const behind = async (count: number) => {
      for (let n = 1; n < count; n++) conversation.edit(message)
      await gateway.publish([edited(conversation, conversation.edit(message))])
      await vi.waitFor(() => expect(ada.changes.at(-1)).toBe(conversation.changeSeq))
    }
    await behind(1_000)
    expect([ada.told, ada.changes]).toEqual([[], [1_000]])
    await behind(1_001)
    for (let n = 0; n < 3; n++) await behind(1)
    const resync = { conversationId: conversation.id, reason: 'behind' }
    expect([ada.told, ada.changes, ada.faults]).toEqual([[resync], someFrom(2_001, 4), []])
  })

  it('whatever the stream loses, doubles or delays, every client has all in order', async () => {
    await fc.assert(
      fc.asyncProperty(steps, async (plan) => {
        const conversation = newConversation()
        const always = await openClient('ada')
        await always.join(conversation, { afterSeq: 0, afterChangeSeq: 0 })
        const clients = [always]
        const late: (() => Promise<void>)[] = []
        for (const { what, fate } of plan) {
          if (what === 'join') {
            const client = await openClient('bob')
            clients.push(client)
            await client.join(conversation, { afterSeq: 0, afterChangeSeq: 0 })
            continue
          }
          const publish = happen(conversation, what)
          if (fate === 'late') late.push(publish)
          else if (fate === 'twice') await publish().then(publish)
          else if (fate === 'now') await publish()
        }
        for (const publish of late) await publish()
        // One more of each reveals what is missing.
        await happen(conversation, 'message')()
        await happen(conversation, 'edit')()
        for (const client of clients) {
          await vi.waitFor(() => expect(client.seqs).toEqual(storedSeqs(conversation)))
          await vi.waitFor(() => expect(client.changes.at(-1)).toBe(conversation.changeSeq))
          expect(client.faults).toEqual([])
          client.socket.disconnect()
        }
      }),
      // A case that fails waits for its time: to look for a smaller one takes longer than a test may.
      { numRuns: 40, endOnFailure: true },
    )
  })
})

const steps = fc.array(
  fc.record({
    what: fc.constantFrom('message', 'message', 'void', 'edit', 'join'),
    fate: fc.constantFrom('now', 'now', 'lost', 'late', 'twice'),
  }),
  { maxLength: 15 },
)

/** Stores something; the returned function publishes it. */
function happen(conversation: FakeConversation, what: string): () => Promise<void> {
  if (what === 'void') {
    const seq = conversation.addVoid()
    return () => gateway.publish([voided(conversation, seq)])
  }
  const last = conversation.messages.findLast((message) => message !== null)
  if (what === 'edit' && last) {
    const message = conversation.edit(last)
    return () => gateway.publish([edited(conversation, message)])
  }
  const message = conversation.add('text')
  return () => gateway.publish([created(conversation, message)])
}
