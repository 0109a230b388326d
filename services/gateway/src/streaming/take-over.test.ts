import { setTimeout as delay } from 'node:timers/promises'
import {
  joinStreamText,
  LIMITS,
  type Message,
  roomChannel,
  roomStreamsKey,
  type StreamUpdate,
  streamTextKey,
} from '@parley/contract'
import type { ApiClient } from '@parley/service-kit'
import type { Socket } from 'socket.io-client'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { z } from 'zod'
import { busMessage } from '../bus/bus.ts'
import { createFakeApi, createFakeConversation, newId } from '../testing/fake-api.ts'
import { startTestGateway } from '../testing/gateway.ts'
import { encodePiece } from './piece.ts'

const BOT = { type: 'agent', id: 'bot' } as const
const ADA = { type: 'user', id: 'ada' } as const
type StartAnswer = (clientMessageId: string) => Promise<Message>

let fake: ReturnType<typeof createFakeApi>
let conversation: ReturnType<ReturnType<typeof createFakeApi>['add']>
let gateway: Awaited<ReturnType<typeof startTestGateway>>
let answer: Message
let onStart: StartAnswer
let ended: { result: { content?: string } }[]

beforeEach(async () => {
  fake = createFakeApi()
  conversation = fake.add(createFakeConversation('acme', [BOT, ADA]))
  answer = { ...conversation.add(''), status: 'streaming', role: 'assistant' }
  onStart = async () => answer
  ended = []
  const api: ApiClient = {
    ...fake.api,
    asCaller: async () => ({ status: 200, body: answer }) as never,
    async internal(path, body) {
      if (path === '/internal/streams/start')
        return { message: await onStart(clientMessageIdOf(body)), created: true } as never
      if (path === '/internal/streams/checkpoint') return { live: true } as never
      if (path !== '/internal/streams/finish') return fake.api.internal(path, body)
      ended.push(body as never)
      return { message: { ...answer, status: 'sent' }, won: true } as never
    },
  }
  gateway = await startTestGateway(api, { RATE_LIMIT_EVENTS: '0' })
})
afterEach(() => gateway.close())

const begin = (clientMessageId: string) => ({ op: 'start', conversationId: conversation.id, clientMessageId })
const connectAgent = () => gateway.connect(gateway.token('bot', 'acme', { type: 'agent' }))
const isStored = (text: string) =>
  vi.waitFor(async () =>
    expect(Object.values(await gateway.redis.hgetall(streamTextKey(answer.id))).join()).toContain(text),
  )

test('a start whose connection is gone takes nothing from the one that goes on with the answer', async () => {
  const slow = Promise.withResolvers<void>()
  const asked = Promise.withResolvers<void>()
  onStart = async () => {
    onStart = async () => answer
    asked.resolve()
    await slow.promise
    return answer
  }
  const first = await connectAgent()
  first.emit('message:stream', begin('a'))
  await asked.promise
  first.disconnect()
  const second = await connectAgent()
  const errors: unknown[] = []
  second.on('message:error', (error) => errors.push(error))
  const { messageId } = await second.emitWithAck('message:stream', begin('a'))
  second.emit('message:stream', { op: 'delta', messageId, index: 0, text: 'Hello' })
  await isStored('Hello')
  slow.resolve()
  await delay(100)
  second.emit('message:stream', { op: 'delta', messageId, index: 5, text: ', world' })
  expect(await second.emitWithAck('message:stream', { op: 'end', messageId })).toMatchObject({ ok: true })
  expect(errors).toEqual([])
  expect(ended).toMatchObject([{ result: { content: 'Hello, world' } }])
})

test('an answer that was taken from its agent unnoticed is not ended without what it wrote last', async () => {
  const agent = await connectAgent()
  const { messageId } = await agent.emitWithAck('message:stream', begin('b'))
  agent.emit('message:stream', { op: 'delta', messageId, index: 0, text: 'Hello' })
  await isStored('Hello')
  // As another gateway does on which it seems to start again.
  await gateway.redis.hset(streamTextKey(messageId), { owner: 'elsewhere' })
  const appended = vi.spyOn(gateway.redis, 'streamAppend')
  agent.emit('message:stream', { op: 'delta', messageId, index: 5, text: ', world' })
  // As in stream-append.lua: by now it has been noticed here, and the agent has not been told.
  await vi.waitFor(() => expect(appended.mock.settledResults.map(({ value }) => value)).toEqual([0]))
  const first = await agent.emitWithAck('message:stream', { op: 'end', messageId })
  expect(first).toMatchObject({ ok: false, error: { code: 'conflict' } })
  const again = await agent.emitWithAck('message:stream', begin('b'))
  const index = again.index ?? 0
  const rest = 'Hello, world'.slice(index)
  agent.emit('message:stream', { op: 'delta', messageId, index, text: rest })
  expect(await agent.emitWithAck('message:stream', { op: 'end', messageId })).toMatchObject({ ok: true })
  expect(ended).toMatchObject([{ result: { content: 'Hello, world' } }])
})

test('an answer that its agent started again on the same connection may be ended twice', async () => {
  const agent = await connectAgent()
  const { messageId } = await agent.emitWithAck('message:stream', begin('c'))
  agent.emit('message:stream', { op: 'delta', messageId, index: 0, text: 'Hello' })
  await isStored('Hello')
  // Another gateway had it in between, and wrote more.
  await gateway.redis.hset(streamTextKey(messageId), { owner: 'elsewhere', 5: ', world' })
  expect(await agent.emitWithAck('message:stream', begin('c'))).toMatchObject({ ok: true })
  for (let times = 0; times < 2; times++) {
    expect(await agent.emitWithAck('message:stream', { op: 'end', messageId })).toMatchObject({ ok: true })
  }
})

test('an answer that was taken by another connection here is not ended without what its agent wrote last', async () => {
  const first = await connectAgent()
  const { messageId } = await first.emitWithAck('message:stream', begin('c'))
  first.emit('message:stream', { op: 'delta', messageId, index: 0, text: 'Hello' })
  await isStored('Hello')
  const second = await connectAgent()
  expect(await second.emitWithAck('message:stream', begin('c'))).toMatchObject({ ok: true })
  // Written before the first connection could hear of it, and refused.
  first.emit('message:stream', { op: 'delta', messageId, index: 5, text: ', world' })
  const early = await first.emitWithAck('message:stream', { op: 'end', messageId })
  expect(early).toMatchObject({ ok: false, error: { code: 'conflict' } })
  second.emit('message:stream', { op: 'delta', messageId, index: 5, text: ', world' })
  expect(await second.emitWithAck('message:stream', { op: 'end', messageId })).toMatchObject({ ok: true })
  expect(ended).toMatchObject([{ result: { content: 'Hello, world' } }])
})

test('an answer that two connections here start at the same moment is ended by the one that has it alone', async () => {
  const [first, second] = [await connectAgent(), await connectAgent()]
  const both = Promise.withResolvers<void>()
  let asked = 0
  onStart = async () => {
    if (++asked === 2) both.resolve()
    await both.promise
    return answer
  }
  const [{ messageId }] = await Promise.all([
    first.emitWithAck('message:stream', begin('c')),
    second.emitWithAck('message:stream', begin('c')),
  ])
  const ends = []
  for (const agent of [first, second]) {
    agent.emit('message:stream', { op: 'delta', messageId, index: 0, text: 'Hello' })
    ends.push(await agent.emitWithAck('message:stream', { op: 'end', messageId }))
  }
  expect(ends.map(({ ok }) => ok).sort()).toEqual([false, true])
  expect(ended).toMatchObject([{ result: { content: 'Hello' } }])
})

test('an answer is whole in Redis again after Redis came back with an older file', async () => {
  const agent = await connectAgent()
  const { messageId } = await agent.emitWithAck('message:stream', begin('d'))
  agent.emit('message:stream', { op: 'delta', messageId, index: 0, text: 'Hel' })
  await isStored('Hel')
  agent.emit('message:stream', { op: 'delta', messageId, index: 3, text: 'lo' })
  await isStored('lo')
  await gateway.redis.hdel(streamTextKey(messageId), '3')
  gateway.redis.stream.destroy()
  await vi.waitFor(() => expect(gateway.redis.status).not.toBe('ready'))
  await vi.waitFor(() => expect(gateway.redis.status).toBe('ready'))
  agent.emit('message:stream', { op: 'delta', messageId, index: 5, text: ', world' })
  await isStored('world')
  expect(joinStreamText(await gateway.redis.hgetall(streamTextKey(messageId)))).toBe('Hello, world')
})

describe('of many answers', () => {
  const ALL = Array.from({ length: LIMITS.streamsPerSocket }, (_, n) => String(n))
  let messages: Map<string, Message>
  beforeEach(() => {
    messages = new Map()
    onStart = async (key) => {
      const message = messages.get(key) ?? { ...answer, id: newId() }
      messages.set(key, message)
      return message
    }
  })

  async function startAll(agent: Socket): Promise<void> {
    // No more than may wait at once.
    for (const part of [ALL.slice(0, 500), ALL.slice(500)]) {
      const starts = part.map((name) => agent.emitWithAck('message:stream', begin(name)))
      expect((await Promise.all(starts)).filter(({ ok }) => !ok)).toEqual([])
    }
  }

  test('a socket has only so many open, however often each is started', async () => {
    const agent = await connectAgent()
    await startAll(agent)
    await startAll(agent)
    const one = await agent.emitWithAck('message:stream', begin('more'))
    expect(one).toMatchObject({ ok: false, error: { code: 'conflict' } })
  })

  test('only so many are remembered as taken from a socket', async () => {
    const [former, agent] = [await connectAgent(), await connectAgent()]
    await startAll(former)
    await startAll(agent)
    const end = (socket: Socket, name: string) =>
      socket.emitWithAck('message:stream', { op: 'end', messageId: messages.get(name)?.id })
    expect(await end(former, '0')).toMatchObject({ ok: false, error: { code: 'conflict' } })
    expect(await end(agent, '1')).toMatchObject({ ok: true })
    for (const socket of [former, agent]) await socket.emitWithAck('message:stream', begin('more'))
    expect(await end(former, '0')).toMatchObject({ ok: true })
    expect(await end(former, '2')).toMatchObject({ ok: false, error: { code: 'conflict' } })
  })
})

test('who joins first as an answer begins gets the text that it has', async () => {
  const ada = await gateway.connect(gateway.token('ada', 'acme'))
  const begun = fake.add(createFakeConversation('acme', [ADA, BOT]))
  const told: StreamUpdate[] = []
  ada.on('message:stream', (update: StreamUpdate) => told.push(update))
  fake.afterEach(async (path) => {
    if (path !== '/internal/join') return
    fake.afterEach(() => undefined)
    const live: Message = begun.add('')
    live.status = 'streaming'
    const { id, seq } = live
    await gateway.publish([gateway.event('message.created', begun, { seq, data: live })])
    await gateway.redis.hset(streamTextKey(id), { owner: 'somebody', 0: 'Hello' })
    await gateway.redis.hset(roomStreamsKey(begun.id), id, seq)
    const piece = encodePiece({ messageId: id, seq, index: 0, text: 'Hello' })
    await gateway.redis.publish(roomChannel(begun.id), busMessage('stream', piece))
    await delay(200)
  })
  await ada.emitWithAck('conversation:join', { conversationId: begun.id, afterSeq: 0 })
  await vi.waitFor(() => expect(told.some(({ text }) => text?.includes('Hello'))).toBe(true))
})

const clientMessageIdOf = (body: unknown): string =>
  z.object({ start: z.object({ clientMessageId: z.string() }) }).parse(body).start.clientMessageId
