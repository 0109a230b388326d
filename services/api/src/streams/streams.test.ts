import { createSecretKey } from 'node:crypto'
import { joinStreamText, roomStreamsKey, streamTextKey } from '@parley/contract'
import { createLogger } from '@parley/service-kit'
import fc from 'fast-check'
import { Redis } from 'ioredis'
import { ObjectId } from 'mongodb'
import { afterAll, beforeAll, describe, expect, inject, onTestFinished, test, vi } from 'vitest'
import {
  ada,
  bob,
  bot,
  caller,
  codeOf,
  eve,
  id,
  open,
  openConversationWorld,
  type Service,
  say,
} from '../conversations/testing/world.ts'
import type { MessageDocument } from '../database/collections.ts'
import { createStreamService, type StreamService } from './service.ts'
import { createStreamSweeper } from './sweeper.ts'

const logger = createLogger({ name: 'test', level: 'silent' })
const due: string[] = []
let world: Awaited<ReturnType<typeof openConversationWorld>>
let service: Service
let streams: StreamService
let redis: Redis
beforeAll(async () => {
  world = await openConversationWorld(inject('mongodbUri'))
  service = world.service()
  redis = new Redis(inject('redisUrl'))
  streams = createStreamService({
    messages: world.database.messages,
    access: service.access,
    append: service.log.append,
    changes: service.changes,
    pricing: (usage) => (usage ? usage.totalTokens * 2 : 0),
    hashKey: createSecretKey(Buffer.alloc(32)),
    summaryDue: ({ cid }) => due.push(cid.toHexString()),
  })
})
afterAll(async () => {
  await redis.quit()
  await world.close()
})

let keys = 0
const talk = () =>
  open(service, ada, { agentId: 'bot', participants: [{ type: 'user', id: 'bob', role: 'observer' }] })
const begin = (conversationId: string, clientMessageId = `answer-${keys++}`) =>
  streams.start(bot, { conversationId, clientMessageId })
const checkpoint = (conversationId: string, messageId: string, content: string) =>
  streams.checkpoint({ caller: bot, conversationId, messageId, content })
const stored = async (messageId: string) =>
  (await world.database.messages.findOne({ _id: id(messageId) })) as MessageDocument
const usage = { inputTokens: 3, outputTokens: 4 }

describe('a streamed answer', () => {
  test('begins empty, once for each key, and only by agents who may write', async () => {
    const cid = await talk()
    const first = await begin(cid, 'one')
    expect(first).toMatchObject({
      created: true,
      message: { status: 'streaming', content: '', role: 'assistant' },
    })
    await checkpoint(cid, first.message.id, 'so far')
    const again = await begin(cid, 'one')
    expect(again).toMatchObject({ created: false, message: { id: first.message.id, content: 'so far' } })
    expect(
      await codeOf(streams.start(bot, { conversationId: cid, clientMessageId: 'one', model: 'm' })),
    ).toBe('idempotency_mismatch')
    const by = (who: typeof bot) => codeOf(streams.start(who, { conversationId: cid, clientMessageId: 'x' }))
    expect(await by(ada)).toBe('role_not_allowed')
    expect(await by(caller('other', { type: 'agent' }))).toBe('not_found')
  })

  test('ends with what it cost, in the head as in the row, whether or not it was counted before', async () => {
    for (const folded of [true, false]) {
      const cid = await talk()
      const { message } = await begin(cid)
      if (folded) await service.headUpdater.flush()
      const result = {
        content: 'Hello',
        usage,
        thinking: 'hm',
        toolCalls: [{ id: '1', name: 'f', arguments: {} }],
      }
      const { message: final, won } = await streams.finish({
        conversationId: cid,
        messageId: message.id,
        status: 'sent',
        result,
        caller: bot,
      })
      expect(won).toBe(true)
      expect(final).toMatchObject({
        status: 'sent',
        content: 'Hello',
        thinking: 'hm',
        changeSeq: 1,
        cost: 0.000014,
      })
      await service.headUpdater.flush()
      const shown = await service.conversations.get(ada, cid)
      expect(shown).toMatchObject({
        messageCount: 1,
        changeSeq: 1,
        totalCost: 0.000014,
        usage: { inputTokens: 3, outputTokens: 4, totalTokens: 7 },
        lastMessage: { preview: 'Hello' },
      })
      expect(await stored(message.id)).not.toHaveProperty('streamedAt')
      await service.outbox.idle()
      const told = service.events.filter((event) => event.cid === cid && event.type === 'message.updated')
      expect(told).toHaveLength(1)
      expect(told[0]).toMatchObject({ change: 1 })
    }
  })

  test('is ended by its author, or cancelled by any participant', async () => {
    const cid = await talk()
    const { message } = await begin(cid)
    const end = (status: 'sent' | 'failed' | 'cancelled', by: typeof bot) =>
      streams.finish({ conversationId: cid, messageId: message.id, status, result: {}, caller: by })
    expect(await codeOf(end('sent', ada))).toBe('forbidden')
    expect(await codeOf(end('failed', bob))).toBe('forbidden')
    expect(await codeOf(end('cancelled', eve))).toBe('not_found')
    const other = await talk()
    expect(
      await codeOf(
        streams.finish({
          conversationId: other,
          messageId: message.id,
          status: 'sent',
          result: {},
          caller: bot,
        }),
      ),
    ).toBe('not_found')
    await checkpoint(cid, message.id, 'kept')
    expect(await end('cancelled', bob)).toMatchObject({
      won: true,
      message: { status: 'cancelled', content: 'kept' },
    })
    expect(await checkpoint(cid, message.id, 'too late')).toBe(false)
    expect((await stored(message.id)).content).toBe('kept')
  })

  test('is cut short with all of its stored text, even by a caller that knew less', async () => {
    const cid = await talk()
    const { message } = await begin(cid)
    await checkpoint(cid, message.id, 'Hello, you')
    const cut = { conversationId: cid, messageId: message.id, status: 'cancelled', caller: bob } as const
    const { message: final } = await streams.finish({ ...cut, result: { content: 'Hello' } })
    expect(final.content).toBe('Hello, you')
  })

  test('ends at its next checkpoint if its agent was removed, or may only read', async () => {
    const lose = {
      part: (cid: string) => service.participants.remove(ada, cid, { type: 'agent', id: 'bot' }),
      voice: (cid: string) =>
        service.participants.add(ada, cid, { type: 'agent', id: 'bot', role: 'observer' }),
      conversation: (cid: string) => service.conversations.remove(ada, cid),
    }
    for (const end of Object.values(lose)) {
      const cid = await talk()
      const { message } = await begin(cid)
      expect(await checkpoint(cid, message.id, 'so far')).toBe(true)
      await end(cid)
      expect(await checkpoint(cid, message.id, 'so far, so good')).toBe(false)
      expect(await stored(message.id)).toMatchObject({ status: 'failed', content: 'so far, so good' })
    }
  })

  test('ends once, whoever ends it, however often, and whatever else happens to the conversation', async () => {
    const ending = fc.record({
      status: fc.constantFrom('sent' as const, 'failed' as const, 'cancelled' as const),
      content: fc.constantFrom('a', 'bb', 'ccc'),
      withUsage: fc.boolean(),
    })
    await fc.assert(
      fc.asyncProperty(
        fc.array(ending, { minLength: 1, maxLength: 8 }),
        fc.boolean(),
        async (endings, folded) => {
          const cid = await talk()
          const { message } = await begin(cid)
          if (folded) await service.headUpdater.flush()
          const others = [say(service, ada, cid, 'meanwhile'), service.headUpdater.flush()]
          const answers = await Promise.all(
            endings.map(({ status, content, withUsage }) =>
              streams.finish({
                conversationId: cid,
                messageId: message.id,
                status,
                result: withUsage ? { content, usage } : { content },
                caller: bot,
              }),
            ),
          )
          await Promise.all(others)
          expect(answers.filter(({ won }) => won)).toHaveLength(1)
          const winner = answers.find(({ won }) => won)?.message
          for (const answer of answers) expect(answer.message).toEqual(winner)
          await service.headUpdater.flush()
          const shown = await service.conversations.get(ada, cid)
          expect(shown.changeSeq).toBe(1)
          expect(shown.usage.totalTokens).toBe(winner?.usage ? 7 : 0)
          expect(shown.messageCount).toBe(2)
        },
      ),
      { numRuns: 15 },
    )
  })

  test('is not ended by a gateway that its agent left, where it goes on at another', async () => {
    const cid = await talk()
    const { message } = await begin(cid)
    await checkpoint(cid, message.id, 'goes on')
    const abandon = (silentMs: number) =>
      streams.finish({
        conversationId: cid,
        messageId: message.id,
        status: 'failed',
        result: {},
        caller: null,
        silentMs,
      })
    expect(await abandon(60_000)).toMatchObject({ won: false, message: { status: 'streaming' } })
    await vi.waitFor(async () => expect(await abandon(1)).toMatchObject({ won: true }), { interval: 5 })
    expect(await stored(message.id)).toMatchObject({ status: 'failed', content: 'goes on' })
  })

  test('lets a summary go on that waited for it', async () => {
    const cid = await talk()
    const { message } = await begin(cid)
    await world.database.conversations.updateOne({ _id: id(cid) }, { $set: { summaryDue: true } })
    await streams.finish({
      conversationId: cid,
      messageId: message.id,
      status: 'sent',
      result: {},
      caller: bot,
    })
    expect(due).toContain(cid)
  })
})

describe('the sweeper', () => {
  const sweeper = () =>
    createStreamSweeper({
      messages: world.database.messages,
      redis,
      streams,
      logger,
      times: { silentMs: 5_000 },
    })
  const silence = (messageId: string) =>
    world.database.messages.updateOne(
      { _id: id(messageId) },
      { $set: { streamedAt: new Date(Date.now() - 6_000) } },
    )

  test('ends streams without a sign of life, with their latest text, and leaves the rest', async () => {
    const cid = await talk()
    const [lost, checkpointed, live] = [await begin(cid), await begin(cid), await begin(cid)]
    await checkpoint(cid, lost.message.id, 'Hel')
    await checkpoint(cid, checkpointed.message.id, 'from Mongo')
    await redis.hset(streamTextKey(lost.message.id), { owner: 'gone', 0: 'Hel', 3: 'lo, you' })
    await silence(lost.message.id)
    await silence(checkpointed.message.id)
    await Promise.all([sweeper().sweep(), sweeper().sweep()])
    expect(await stored(lost.message.id)).toMatchObject({ status: 'failed', content: 'Hello, you' })
    expect(await stored(checkpointed.message.id)).toMatchObject({ status: 'failed', content: 'from Mongo' })
    expect(await stored(live.message.id)).toMatchObject({ status: 'streaming' })
  })

  test('spares a stream that gave a sign of life while it was being ended', async () => {
    const cid = await talk()
    const { message } = await begin(cid)
    await silence(message.id)
    const read = vi.spyOn(redis, 'hgetall')
    read.mockImplementationOnce(async () => {
      await checkpoint(cid, message.id, 'still here')
      return {}
    })
    await redis.hset(streamTextKey(message.id), { owner: 'here', 0: 'still here' })
    await sweeper().sweep()
    read.mockRestore()
    expect(await stored(message.id)).toMatchObject({ status: 'streaming', content: 'still here' })
    expect(await redis.exists(streamTextKey(message.id))).toBe(1)
  })

  test('leaves alone a stream that its agent has just come back to', async () => {
    const cid = await talk()
    const { message } = await begin(cid, 'resumed')
    await silence(message.id)
    await begin(cid, 'resumed')
    await sweeper().sweep()
    expect(await stored(message.id)).toMatchObject({ status: 'streaming' })
  })

  test('never looks again at one that was deleted', async () => {
    const cid = await talk()
    const { message } = await begin(cid)
    await service.deleteMessage(ada, message.id)
    const row = await stored(message.id)
    expect(row.status).toBe('cancelled')
    expect(row).not.toHaveProperty('streamedAt')
  })

  test('gives gateways time for their checkpoints once MongoDB is back', async () => {
    const cid = await talk()
    const { message } = await begin(cid)
    await silence(message.id)
    let isAway = true
    let answers = 0
    const messages = new Proxy(world.database.messages, {
      get(target, name) {
        if (isAway) throw new Error('MongoDB is away')
        answers++
        const value = Reflect.get(target, name)
        return typeof value === 'function' ? value.bind(target) : value
      },
    })
    const warn = vi.fn()
    const times = { silentMs: 5_000, everyMs: 1_000, firstMs: 3_000 }
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    onTestFinished(() => void vi.useRealTimers())
    const watching = createStreamSweeper({
      messages,
      redis,
      streams,
      logger: { warn, debug: () => undefined },
      times,
    })
    // Each time one round, or the end of the one that is under way.
    await watching.start()
    expect(warn).toHaveBeenCalledOnce()
    isAway = false
    await watching.start()
    vi.advanceTimersByTime(times.firstMs - 1)
    expect(answers).toBe(1)
    await checkpoint(cid, message.id, 'still here')
    vi.advanceTimersByTime(1)
    expect(answers).toBe(2)
    await watching.start()
    await watching.close()
    expect(await stored(message.id)).toMatchObject({ status: 'streaming', content: 'still here' })
  })

  test('leaves no text of an ended stream that gateways would show as running, nor lets its owner write more', async () => {
    const cid = await talk()
    const { message } = await begin(cid)
    await redis.hset(streamTextKey(message.id), { owner: 'gone', 0: 'Hello' })
    await redis.hset(roomStreamsKey(cid), message.id, message.seq)
    await silence(message.id)
    await sweeper().sweep()
    expect(await redis.exists(roomStreamsKey(cid))).toBe(0)
    expect(await redis.hgetall(streamTextKey(message.id))).toEqual({ owner: '' })
    expect(await redis.pttl(streamTextKey(message.id))).toBeGreaterThan(30_000)
  })

  test('ends all that are silent in one go: hundreds outlived their gateway by more than 30 s', async () => {
    const cid = await talk()
    const { message } = await begin(cid)
    await silence(message.id)
    const row = await stored(message.id)
    // More than are read at once.
    const copies = Array.from({ length: 110 }, (_, i) => ({
      ...row,
      _id: new ObjectId(),
      seq: row.seq + 1 + i,
      clientMessageId: `copy-${i}`,
    }))
    await world.database.messages.insertMany(copies)
    await sweeper().sweep()
    expect(await world.database.messages.countDocuments({ cid: id(cid), status: 'streaming' })).toBe(0)
  })

  test('also ends those whose conversation is gone', async () => {
    const cid = await talk()
    const { message } = await begin(cid)
    await service.conversations.remove(ada, cid)
    await silence(message.id)
    await sweeper().sweep()
    expect(await stored(message.id)).toMatchObject({ status: 'failed' })
  })
})

test('a text is joined from its pieces up to the first gap, whatever overlaps', () => {
  expect(joinStreamText({ owner: 'x', 0: 'ab', 2: 'cd', 1: 'bc', 4: 'e', 9: 'z' })).toBe('abcde')
  expect(joinStreamText({ 0: 'long enough', 5: 'en' })).toBe('long enough')
  expect(joinStreamText({ owner: '' })).toBe('')
})
