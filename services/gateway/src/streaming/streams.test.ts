import {
  type Message,
  participantKey,
  problem,
  roomChannel,
  roomStreamsKey,
  type StreamUpdate,
  streamTextKey,
} from '@parley/contract'
import { type ApiClient, createLogger } from '@parley/service-kit'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { busMessage } from '../bus/bus.ts'
import { createFakeApi, createFakeConversation } from '../testing/fake-api.ts'
import { startTestGateway } from '../testing/gateway.ts'
import { encodePiece } from './piece.ts'
import { createStreamStore } from './store.ts'

const BOT = { type: 'agent', id: 'bot' } as const
const ADA = { type: 'user', id: 'ada' } as const
const fake = createFakeApi()
const conversation = fake.add(createFakeConversation('acme', [BOT, ADA]))
const answer: Message = { ...conversation.add(''), status: 'streaming', role: 'assistant' }
const deleted = fake.add(createFakeConversation('acme', [BOT]))
const late = fake.add(createFakeConversation('acme', [BOT, ADA]))
const left = fake.add(createFakeConversation('acme', [BOT, ADA]))
const outlived = fake.add(createFakeConversation('acme', [BOT, ADA]))
const blind = fake.add(createFakeConversation('acme', [BOT, ADA]))
const resumed = fake.add(createFakeConversation('acme', [BOT]))
const paused: Message = { ...resumed.add(''), status: 'streaming' }
const behind = fake.add(createFakeConversation('acme', [BOT, ADA]))
const moved = fake.add(createFakeConversation('acme', [BOT, ADA]))
const continued: Message = { ...moved.add(''), status: 'streaming' }
const checkpointed = fake.add(createFakeConversation('acme', [BOT, ADA]))
const unheard = fake.add(createFakeConversation('acme', [BOT, ADA]))
const begun: Message = Object.assign(unheard.add(''), { status: 'streaming', role: 'assistant' } as const)
const stored: Message = { ...checkpointed.add('abcdef'), status: 'streaming' }
const cut = fake.add(createFakeConversation('acme', [BOT, ADA]))
const shown: Message = Object.assign(cut.add(''), { status: 'streaming', role: 'assistant' } as const)
/** What comes between a cancel's reading of the text and the api's word. */
let whileCancelling: () => Promise<void> = async () => undefined
const started = Promise.withResolvers<void>()
const ended: unknown[] = []
let isAsked = false

/** The fake api, with an answer that is stored at once and acknowledged when the test says so. */
const api: ApiClient = {
  ...fake.api,
  asCaller: async (_method, path) =>
    ({ status: 200, body: [continued, shown].find(({ id }) => path.endsWith(id)) ?? stored }) as never,
  async internal(path, body) {
    if (JSON.stringify(body).includes(deleted.id)) {
      if (path === '/internal/streams/checkpoint') return { live: false } as never
      return { message: { ...deleted.add(''), status: 'streaming' }, created: true } as never
    }
    if (path === '/internal/streams/start') {
      if (JSON.stringify(body).includes(moved.id)) return { message: continued, created: true } as never
      if (JSON.stringify(body).includes(cut.id)) return { message: shown, created: true } as never
      if (JSON.stringify(body).includes(unheard.id)) return { message: begun, created: true } as never
      if (JSON.stringify(body).includes(resumed.id)) return { message: paused, created: false } as never
      isAsked = true
      await started.promise
      return { message: answer, created: true } as never
    }
    if (path !== '/internal/streams/finish') return fake.api.internal(path, body)
    if (JSON.stringify(body).includes(cut.id)) await whileCancelling()
    ended.push(body)
    return { message: { ...answer, status: 'failed' }, won: true } as never
  },
}
let gateway: Awaited<ReturnType<typeof startTestGateway>>
beforeAll(async () => {
  gateway = await startTestGateway(api)
})
afterAll(() => gateway.close())

it('ends an answer whose agent was removed while its start was under way', async () => {
  const agent = await gateway.connect(gateway.token('bot', 'acme', { type: 'agent' }))
  const ada = await gateway.connect(gateway.token('ada', 'acme'))
  const removed = new Promise((resolve) => ada.once('conversation:removed', resolve))
  const cancelled = new Promise((resolve) => agent.once('message:cancel', resolve))
  const start = { op: 'start', conversationId: conversation.id, clientMessageId: 'answer' }
  const starting = agent.emitWithAck('message:stream', start)
  await vi.waitFor(() => expect(isAsked).toBe(true))
  for (const participant of [BOT, ADA]) {
    const data = { participant, conversation: conversation.view() }
    const change = conversation.remove(participant)
    await gateway.publish([
      gateway.event('participant.removed', conversation, {
        change,
        member: participantKey(participant),
        data,
      }),
    ])
  }
  // Told one after the other.
  await removed
  started.resolve()
  expect(await starting).toMatchObject({ ok: true, messageId: answer.id })
  expect(await cancelled).toEqual({ conversationId: conversation.id, messageId: answer.id })
  expect(ended).toMatchObject([{ messageId: answer.id, status: 'failed', caller: null }])
})

it('keeps no text of a deleted answer: later joiners were shown it', async () => {
  const agent = await gateway.connect(gateway.token('bot', 'acme', { type: 'agent' }))
  const cancelled = new Promise((resolve) => agent.once('message:cancel', resolve))
  const start = { op: 'start', conversationId: deleted.id, clientMessageId: 'deleted' }
  const { messageId } = await agent.emitWithAck('message:stream', start)
  agent.emit('message:stream', { op: 'delta', messageId, index: 0, text: 'a secret' })
  const { redis } = gateway
  await vi.waitFor(async () => expect(await redis.hget(streamTextKey(messageId), '0')).toBe('a secret'))
  await cancelled
  await vi.waitFor(async () => {
    expect(await redis.hgetall(streamTextKey(messageId))).toEqual({ owner: '' })
    expect(await redis.exists(roomStreamsKey(deleted.id))).toBe(0)
  })
})

it('tells an answer’s text even if it goes out in the same turn as its end', async () => {
  const ada = await gateway.connect(gateway.token('ada', 'acme'))
  await ada.emitWithAck('conversation:join', { conversationId: late.id })
  const told: StreamUpdate[] = []
  ada.on('message:stream', (update: StreamUpdate) => told.push(update))
  const ended = new Promise((resolve) => ada.once('message:updated', resolve))
  const [before, begun] = [late.add('question'), { ...late.add(''), status: 'streaming' as const }]
  const final = { ...begun, status: 'sent', content: 'Hello', changeSeq: 1 }
  await gateway.publish([
    gateway.event('message.created', late, { seq: 2, data: begun }),
    gateway.event('message.updated', late, { change: 1, data: final }),
    gateway.event('message.created', late, { seq: 1, data: before }),
  ])
  await ended
  expect(told).toMatchObject([
    { op: 'delta', index: 0, text: 'Hello' },
    { op: 'end', index: 5 },
  ])
})

it('drops what arrives of an answer after its end', async () => {
  const ada = await gateway.connect(gateway.token('ada', 'acme'))
  await ada.emitWithAck('conversation:join', { conversationId: late.id })
  const updates: StreamUpdate[] = []
  ada.on('message:stream', (update: StreamUpdate) => updates.push(update))
  const [seq, messageId] = [2, late.messages[1]?.id ?? '']
  const piece = encodePiece({ messageId, seq, index: 0, text: 'Hel' })
  const channel = roomChannel(late.id)
  await gateway.redis.publish(channel, busMessage('stream', piece))
  const typing = new Promise((resolve) => ada.once('user:typing', resolve))
  const told = { from: 'elsewhere', ...BOT, isTyping: true }
  await gateway.redis.publish(channel, busMessage('typing', JSON.stringify(told)))
  await typing
  expect(updates).toEqual([])
})

it('begins running answers anew in a room that was told to fetch its state', async () => {
  const ada = await gateway.connect(gateway.token('ada', 'acme'))
  const updates: StreamUpdate[] = []
  ada.on('message:stream', (update: StreamUpdate) => updates.push(update))
  await ada.emitWithAck('conversation:join', { conversationId: behind.id })
  const [live] = Array.from({ length: 1_001 }, () => behind.add('')).slice(-1) as [Message]
  live.status = 'streaming'
  await gateway.redis.hset(streamTextKey(live.id), { owner: 'somebody', 0: 'Hello' })
  await gateway.redis.hset(roomStreamsKey(behind.id), live.id, live.seq)
  await gateway.publish([gateway.event('message.created', behind, { seq: live.seq })])
  await vi.waitFor(() =>
    expect(updates).toMatchObject([{ messageId: live.id, op: 'snapshot', text: 'Hello' }]),
  )
})

it('does not show an answer as running that ended while Redis was away and left its text there', async () => {
  const [ended, live] = [left.add('Hello'), left.add('')]
  live.status = 'streaming'
  for (const { id, seq } of [ended, live]) {
    await gateway.redis.hset(streamTextKey(id), { owner: 'somebody', 0: 'Hello' })
    await gateway.redis.hset(roomStreamsKey(left.id), id, seq)
  }
  const ada = await gateway.connect(gateway.token('ada', 'acme'))
  const told: StreamUpdate[] = []
  ada.on('message:stream', (update: StreamUpdate) => told.push(update))
  await ada.emitWithAck('conversation:join', { conversationId: left.id })
  await vi.waitFor(() => expect(told.map(({ messageId }) => messageId)).toContain(live.id))
  expect(told).toMatchObject([{ messageId: live.id, op: 'snapshot', text: 'Hello' }])
})

it('shows nothing of an answer that ended before the room opened, though its gateway does not know that yet', async () => {
  const [over, live] = [outlived.add('Hello'), outlived.add('')]
  live.status = 'streaming'
  const ada = await gateway.connect(gateway.token('ada', 'acme'))
  await ada.emitWithAck('conversation:join', { conversationId: outlived.id })
  const told: StreamUpdate[] = []
  const bob = await gateway.connect(gateway.token('ada', 'acme'))
  for (const socket of [ada, bob]) socket.on('message:stream', (update: StreamUpdate) => told.push(update))
  for (const { id, seq } of [over, live]) {
    await gateway.redis.hset(streamTextKey(id), { owner: 'somebody', 0: 'Hello' })
    await gateway.redis.hset(roomStreamsKey(outlived.id), id, seq)
    const piece = encodePiece({ messageId: id, seq, index: 0, text: 'Hello' })
    await gateway.redis.publish(roomChannel(outlived.id), busMessage('stream', piece))
  }
  await vi.waitFor(() => expect(told.map(({ messageId }) => messageId)).toContain(live.id))
  await bob.emitWithAck('conversation:join', { conversationId: outlived.id })
  await vi.waitFor(() => expect(told).toHaveLength(2))
  expect(told).toMatchObject([
    { messageId: live.id, op: 'snapshot', text: 'Hello' },
    { messageId: live.id, op: 'snapshot', text: 'Hello' },
  ])
})

it('finds the running answers of a room that opened while Redis was away', async () => {
  const live = blind.add('')
  live.status = 'streaming'
  await gateway.redis.hset(streamTextKey(live.id), { owner: 'somebody', 0: 'Hello' })
  await gateway.redis.set(roomStreamsKey(blind.id), 'not an answer')
  const ada = await gateway.connect(gateway.token('ada', 'acme'))
  const told: StreamUpdate[] = []
  ada.on('message:stream', (update: StreamUpdate) => told.push(update))
  await ada.emitWithAck('conversation:join', { conversationId: blind.id })
  await gateway.redis.del(roomStreamsKey(blind.id))
  await gateway.redis.hset(roomStreamsKey(blind.id), live.id, live.seq)
  await vi.waitFor(() => expect(told).toMatchObject([{ op: 'snapshot', text: 'Hello' }]))
})

it('shows an answer to a room here that opened after its start, though Redis is away', async () => {
  const agent = await gateway.connect(gateway.token('bot', 'acme', { type: 'agent' }))
  const start = { op: 'start', conversationId: unheard.id, clientMessageId: 'unheard' }
  const { messageId } = await agent.emitWithAck('message:stream', start)
  for (const key of [streamTextKey(messageId), roomStreamsKey(unheard.id)]) {
    await gateway.redis.del(key)
    await gateway.redis.set(key, 'no answer')
  }
  const ada = await gateway.connect(gateway.token('ada', 'acme'))
  const told = new Promise((resolve) => ada.once('message:stream', resolve))
  await ada.emitWithAck('conversation:join', { conversationId: unheard.id })
  agent.emit('message:stream', { op: 'delta', messageId, index: 0, text: 'Hello' })
  expect(await told).toMatchObject({ messageId, op: 'delta', text: 'Hello' })
})

it('continues an answer while somebody else is removed from the conversation', async () => {
  const agent = await gateway.connect(gateway.token('bot', 'acme', { type: 'agent' }))
  const ada = await gateway.connect(gateway.token('ada', 'acme'))
  const removed = new Promise((resolve) => ada.once('conversation:removed', resolve))
  const start = { op: 'start', conversationId: left.id, clientMessageId: 'goes on' }
  const { messageId } = await agent.emitWithAck('message:stream', start)
  const before = ended.length
  const change = left.remove(ADA)
  const data = { participant: ADA, conversation: left.view() }
  await gateway.publish([
    gateway.event('participant.removed', left, { change, member: participantKey(ADA), data }),
  ])
  await removed
  expect(await agent.emitWithAck('message:stream', { op: 'end', messageId })).toMatchObject({ ok: true })
  expect(ended.slice(before)).toMatchObject([{ messageId, status: 'sent' }])
})

it('continues an answer resumed while Redis was away, although that still named the previous connection', async () => {
  const agent = await gateway.connect(gateway.token('bot', 'acme', { type: 'agent' }))
  const start = { op: 'start', conversationId: resumed.id, clientMessageId: 'resumed' }
  const { messageId } = await agent.emitWithAck('message:stream', start)
  const { redis } = gateway
  const key = streamTextKey(messageId)
  await redis.rename(key, `${key}:before`)
  await redis.set(key, 'not a text')
  expect(await agent.emitWithAck('message:stream', start)).toMatchObject({ ok: true, index: 0 })
  await redis.rename(`${key}:before`, key)
  agent.emit('message:stream', { op: 'delta', messageId, index: 0, text: 'Hello' })
  await vi.waitFor(async () => expect(await redis.hget(key, '0')).toBe('Hello'))
})

it('keeps all of an answer that is cancelled through the gateway where it began, though it continued on another', async () => {
  const agent = await gateway.connect(gateway.token('bot', 'acme', { type: 'agent' }))
  const start = { op: 'start', conversationId: moved.id, clientMessageId: 'moved' }
  const { messageId } = await agent.emitWithAck('message:stream', start)
  agent.emit('message:stream', { op: 'delta', messageId, index: 0, text: 'abc' })
  await vi.waitFor(async () => expect(await gateway.redis.hget(streamTextKey(messageId), '0')).toBe('abc'))
  agent.disconnect()
  // The owner here checks for the last time whether it still owns it.
  await vi.waitFor(() => expect(fake.calls).toContain('/internal/streams/checkpoint'))
  const logger = createLogger({ name: 'test', level: 'silent' })
  const elsewhere = createStreamStore({ redis: gateway.redis, logger })
  await elsewhere.claim(moved.id, messageId, continued.seq, 'another gateway')
  const piece = { index: 3, text: 'def' }
  await elsewhere.append(messageId, 'another gateway', piece, roomChannel(moved.id), '')
  const ada = await gateway.connect(gateway.token('ada', 'acme'))
  await ada.emitWithAck('message:cancel', { conversationId: moved.id, messageId })
  expect(ended.at(-1)).toMatchObject({ messageId, status: 'cancelled', result: { content: 'abcdef' } })
})

it('shows nothing of an answer that is being cancelled beyond what is stored of it, and goes on if that fails', async () => {
  const agent = await gateway.connect(gateway.token('bot', 'acme', { type: 'agent' }))
  const ada = await gateway.connect(gateway.token('ada', 'acme'))
  await ada.emitWithAck('conversation:join', { conversationId: cut.id })
  let seen = ''
  ada.on('message:stream', ({ text = '' }: StreamUpdate) => {
    seen += text
  })
  const start = { op: 'start', conversationId: cut.id, clientMessageId: 'cut' }
  const { messageId } = await agent.emitWithAck('message:stream', start)
  await gateway.publish([gateway.event('message.created', cut, { seq: shown.seq, data: shown })])
  const write = (index: number, text: string) =>
    agent.emitWithAck('message:stream', { op: 'delta', messageId, index, text })
  await write(0, 'abc')
  await vi.waitFor(() => expect(seen).toBe('abc'))

  const appended = vi.spyOn(gateway.redis, 'streamAppend')
  /** As in stream-append.lua: what the owner was last told. */
  const isTold = (answer: number) =>
    vi.waitFor(() => expect(appended.mock.settledResults.at(-1)?.value).toBe(answer))
  whileCancelling = async () => {
    await write(3, 'def')
    await isTold(3)
    expect(seen).toBe('abc')
    throw problem('unavailable')
  }
  const cancel = () => ada.emitWithAck('message:cancel', { conversationId: cut.id, messageId })
  expect(await cancel()).toMatchObject({ ok: false, error: { code: 'unavailable' } })
  await vi.waitFor(() => expect(seen).toBe('abcdef'))

  const told = new Promise((resolve) => agent.once('message:cancel', resolve))
  whileCancelling = async () => {
    appended.mockClear()
    await write(6, 'ghi')
    await isTold(3)
    // The api takes its time.
    const held = () => gateway.redis.hget(streamTextKey(messageId), 'held')
    const until = Number(await held())
    await vi.waitFor(async () => expect(Number(await held())).toBeGreaterThan(until), { timeout: 4_000 })
  }
  expect(await cancel()).toMatchObject({ ok: true })
  expect(ended.at(-1)).toMatchObject({ messageId, status: 'cancelled', result: { content: 'abcdef' } })
  await told
  await isTold(2)
  expect(seen).toBe('abcdef')
})

it('leaves the text as it is stored where an answer ends on another connection and Redis has less of it', async () => {
  const agent = await gateway.connect(gateway.token('bot', 'acme', { type: 'agent' }))
  const { id: messageId } = stored
  const end = async () => {
    expect(await agent.emitWithAck('message:stream', { op: 'end', messageId })).toMatchObject({ ok: true })
    return ended.at(-1)
  }
  const key = streamTextKey(messageId)
  await gateway.redis.hset(key, { owner: 'another gateway', 0: 'abc' })
  expect(await end()).toMatchObject({ messageId, status: 'sent', result: {} })
  expect(ended.at(-1)).not.toHaveProperty('result.content')
  await gateway.redis.hset(key, { owner: 'another gateway', 0: 'abcdefghi' })
  expect(await end()).toMatchObject({ messageId, status: 'sent', result: { content: 'abcdefghi' } })
})
