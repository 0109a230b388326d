import { type Caller, InternalJoinsResult, LIMITS } from '@parley/contract'
import { type CommandStartedEvent, ObjectId } from 'mongodb'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { createJoinBatches } from './join-batch.ts'
import { answerJoins } from './joins.ts'
import { ada, bob, callerOf, logger, openServices } from './testing/world.ts'

const context = { log: logger, requestId: 'test' }
const LONG = 'x'.repeat(LIMITS.contentBytes)
type World = Awaited<ReturnType<typeof openServices>>
let world: World
let services: World['services']
let database: World['database']
beforeAll(async () => {
  world = await openServices(inject('mongodbUri'), inject('redisUrl'))
  services = world.services
  database = world.database
})
afterAll(() => world.close())

const newConversation = async () => {
  const participants = [{ type: 'user' as const, id: 'bob' }]
  return (await services.conversations.create(ada, { participants })).conversation.id
}
const send = (cid: string, content: string) =>
  services.messages.create(ada, { conversationId: cid, role: 'user', content }, undefined)
/** As a gateway reads it; the schema rejects what a gateway would not expect. */
const answersTo = async (joins: Parameters<typeof answerJoins>[1]) =>
  answersIn(await answerJoins(services.gatewayReads, joins, context))
function answersIn(text: string) {
  const { pages, reads, answers } = InternalJoinsResult.parse(JSON.parse(text))
  return answers.map((answer) => {
    if (!('result' in answer)) return answer
    return { result: { ...answer.result, messages: pages[answer.page], receipts: reads[answer.read] } }
  })
}

test('each join of a call is authorised by its own caller and answered at its place', async () => {
  const [here, there] = [await newConversation(), await newConversation()]
  await send(here, 'one')
  await send(here, 'two')
  await send(there, 'elsewhere')
  const answers = await answersTo([
    { caller: ada, conversationId: here, afterSeq: 0 },
    { caller: callerOf('eve'), conversationId: here, afterSeq: 0 },
    { caller: bob, conversationId: here, afterSeq: 1 },
    { caller: callerOf('ada', { orgId: 'elsewhere' }), conversationId: here, afterSeq: 0 },
    { caller: callerOf('root', { roles: ['admin'] }), conversationId: there, members: true },
    { caller: callerOf('root', { roles: ['admin'], orgId: 'elsewhere' }), conversationId: there },
    { caller: ada, conversationId: new ObjectId().toHexString() },
    { caller: bob, conversationId: there, afterSeq: 0 },
  ])
  const refused = { problem: { code: 'not_found', detail: 'Not found' } }
  expect(answers).toMatchObject([
    { result: { role: 'owner', lastSeq: 2, messages: [{ content: 'one' }, { content: 'two' }] } },
    refused,
    { result: { role: 'member', lastSeq: 2, messages: [{ content: 'two' }] } },
    refused,
    { result: { role: null, lastSeq: 1, members: [{ id: 'ada' }, { id: 'bob' }], messages: [] } },
    refused,
    refused,
    { result: { role: 'member', lastSeq: 1, messages: [{ content: 'elsewhere' }] } },
  ])
  // The answer does not reveal whether there is such a conversation.
  expect(new Set(answers.filter((one) => 'problem' in one).map((one) => JSON.stringify(one))).size).toBe(1)
})

test.for([
  ['a small conversation', 0],
  ['a large one', LIMITS.receiptsAtJoin],
] as const)('somebody removed from %s while their join is read is not let in', async ([, others]) => {
  const id = await newConversation()
  const cid = new ObjectId(id)
  await database.conversations.updateOne({ _id: cid }, { $inc: { participantCount: others } })
  const { conversations, participants } = database
  const ownRead = Promise.withResolvers<void>()
  /** Runs with what this collection finds, before it is returned. */
  const interposed = <C extends object>(collection: C, before: () => Promise<void>, after: () => void): C =>
    new Proxy(collection, {
      get: (target, name) => {
        if (name !== 'find') return Reflect.get(target, name)
        return (...args: Parameters<typeof participants.find>) => ({
          toArray: async () => {
            await before()
            const found = await participants.find.apply(target, args).toArray()
            after()
            return found
          },
        })
      },
    })
  const joins = createJoinBatches({
    database: {
      conversations: interposed(
        conversations,
        async () => {
          await ownRead.promise
          await services.participants.remove(ada, id, { type: 'user', id: 'bob' })
        },
        () => undefined,
      ),
      participants: interposed(participants, async () => undefined, ownRead.resolve),
    },
    store: { openings: async () => new Map() },
  })
  await expect(joins.read({ caller: bob, conversationId: id })).rejects.toMatchObject({ code: 'not_found' })
})

test('those who may stay in a room are those who may join it', async () => {
  const id = await newConversation()
  const callers = [
    ada,
    callerOf('eve'),
    bob,
    callerOf('bob', { type: 'agent' }),
    callerOf('ada', { orgId: 'elsewhere' }),
    callerOf('root', { roles: ['admin'] }),
    callerOf('root', { roles: ['admin'], orgId: 'elsewhere' }),
  ]
  const mayJoin = (await answersTo(callers.map((caller) => ({ caller, conversationId: id })))).map(
    (answer) => 'result' in answer,
  )
  const members = [ada, bob].map(({ type, id }) => ({ type, id }))
  expect(await services.gatewayReads.whoMayJoin({ conversationId: id, callers, members: true })).toEqual({
    exists: true,
    allowed: mayJoin,
    members,
  })
  expect(mayJoin).toEqual([true, false, true, false, false, true, false])
  await services.conversations.remove(ada, id)
  expect(await services.gatewayReads.whoMayJoin({ conversationId: id, callers })).toEqual({
    exists: false,
    allowed: callers.map(() => false),
  })
})

test('two people share a conversation until one has left it, or it is deleted', async () => {
  const one = callerOf('one')
  const shared = () => services.gatewayReads.shareConversation(one, { type: 'user', id: 'other' })
  const participants = [{ type: 'user' as const, id: 'other' }]
  const { conversation } = await services.conversations.create(one, { participants })
  expect(await shared()).toBe(true)
  await services.participants.remove(one, conversation.id, { type: 'user', id: 'other' })
  expect(await shared()).toBe(false)
  await services.participants.add(one, conversation.id, { type: 'user', id: 'other' })
  expect(await shared()).toBe(true)
  await services.conversations.remove(one, conversation.id)
  expect(await shared()).toBe(false)
})

test('what two people share is looked for among those of the one who has fewer', async () => {
  const [busy, quiet] = [callerOf('busy'), callerOf('quiet')]
  for (let count = 0; count < 3; count++) await services.conversations.create(busy, {})
  await services.conversations.create(quiet, {})
  const through: unknown[] = []
  const note = ({ commandName, command }: CommandStartedEvent) => {
    if (commandName === 'aggregate' && command.pipeline[1].$sort) through.push(command.pipeline[0].$match.key)
  }
  database.client.on('commandStarted', note)
  expect(await services.gatewayReads.shareConversation(busy, quiet)).toBe(false)
  expect(await services.gatewayReads.shareConversation(quiet, busy)).toBe(false)
  database.client.off('commandStarted', note)
  expect(through).toEqual(['user:quiet', 'user:quiet'])
})

test('a call of many joins is four queries', async () => {
  const ids = await Promise.all(Array.from({ length: 10 }, newConversation))
  for (const id of ids) await send(id, 'hello')
  const joins = ids.flatMap((conversationId) =>
    [ada, bob].map((caller) => ({ caller, conversationId, afterSeq: 0, afterChangeSeq: 0 })),
  )
  const queries = async () => {
    let count = 0
    const note = ({ commandName }: { commandName: string }) => {
      if (commandName === 'find') count++
    }
    database.client.on('commandStarted', note)
    await answersTo(joins)
    database.client.off('commandStarted', note)
    return count
  }
  // Work that follows a send runs queries too, for a while.
  await expect.poll(queries).toBe(4)
})

test('those who rejoin a room from the same position share a page, written once', async () => {
  const id = await newConversation()
  for (const content of ['the first', 'the second', 'the third']) await send(id, content)
  const from = (caller: Caller, afterSeq?: number) => ({
    caller,
    conversationId: id,
    ...(afterSeq === undefined ? {} : { afterSeq }),
  })
  const joins = [from(ada, 1), from(bob, 1), from(bob, 2), from(ada), from(ada, 3)]
  const text = await answerJoins(services.gatewayReads, joins, context)
  const shown = answersIn(text).map((answer) =>
    'result' in answer ? answer.result.messages?.map(({ seq }) => seq) : answer,
  )
  expect(shown).toEqual([[2, 3], [2, 3], [3], [], []])
  expect([text.split('the second').length - 1, text.split('the third').length - 1]).toEqual([1, 2])
})

test('a join that would make a long answer longer has to be asked for alone', async () => {
  const id = await newConversation()
  for (let n = 0; n < 20; n++) await send(id, LONG)
  const joins = Array.from({ length: 15 }, (_, afterSeq) => ({ caller: ada, conversationId: id, afterSeq }))
  const text = await answerJoins(services.gatewayReads, joins, context)
  expect(text.length).toBeLessThan(1024 * 1024 + 2 * LIMITS.joinBytes)
  const kinds = answersIn(text).map((answer) => Object.keys(answer)[0])
  const answered = kinds.indexOf('alone')
  expect(answered).toBeGreaterThan(1)
  expect(kinds).toEqual(kinds.map((_, n) => (n < answered ? 'result' : 'alone')))
})

describe('long messages', () => {
  const bytes = (list: object) => JSON.stringify(list).length
  /** The numbers from one to another. */
  const between = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, n) => from + n)

  test('come as many as an answer carries, at least one, wherever a join begins', async () => {
    const id = await newConversation()
    for (let n = 0; n < 8; n++) await send(id, LONG)
    const toolCalls = [{ id: 'call', name: 'look', arguments: 'x'.repeat(2 * LIMITS.joinBytes) }]
    await services.messages.create(
      ada,
      { conversationId: id, role: 'user', content: '', toolCalls },
      undefined,
    )
    await send(id, 'short')
    const joins = between(0, 10).map((afterSeq) =>
      services.gatewayReads.join({ caller: ada, conversationId: id, afterSeq }),
    )
    for (const [afterSeq, { messages, hasMore }] of (await Promise.all(joins)).entries()) {
      const last = messages.at(-1)?.seq ?? afterSeq
      expect(messages.map(({ seq }) => seq)).toEqual(between(afterSeq + 1, last))
      expect(hasMore).toBe(last < 10)
      if (messages.length > 1) expect(bytes(messages)).toBeLessThan(LIMITS.joinBytes)
      if (afterSeq < 10) expect(messages.length).toBeGreaterThan(0)
    }
  })

  test('reach a room that missed them answer by answer', async () => {
    const id = await newConversation()
    for (let n = 0; n < 8; n++) await send(id, LONG)
    const seqs: number[] = []
    for (let lastSeq = 1; seqs.length < lastSeq; ) {
      const request = { conversationId: id, afterSeq: seqs.length, afterChangeSeq: 0, limit: 100 }
      const answer = await services.gatewayReads.fill(request)
      expect(bytes(answer.messages)).toBeLessThan(LIMITS.joinBytes)
      seqs.push(...answer.messages.map(({ seq }) => seq))
      expect(answer.throughSeq).toBe(seqs.at(-1))
      lastSeq = answer.lastSeq
    }
    expect(seqs).toEqual(between(1, 8))
  })

  test('that have changed do so too', async () => {
    const bot = callerOf('bot', { type: 'agent' })
    const { conversation } = await services.conversations.create(bot, {})
    const conversationId = conversation.id
    for (let n = 0; n < 6; n++) {
      const start = { conversationId, clientMessageId: `answer ${n}` }
      const { message } = await services.streams.start(bot, start)
      await services.streams.finish({
        conversationId,
        messageId: message.id,
        status: 'sent',
        result: { content: LONG },
        caller: bot,
      })
    }
    const first = await services.gatewayReads.join({ caller: bot, conversationId, afterChangeSeq: 0 })
    expect(first.hasMore).toBe(true)
    expect(bytes(first.changes)).toBeLessThan(LIMITS.joinBytes)
    const numbers = first.changes.map(({ changeSeq }) => changeSeq)
    while (numbers.length < 6) {
      const { data, page } = await services.history.changes(bot, conversationId, { after: numbers.length })
      expect(data.length).toBeGreaterThan(0)
      numbers.push(...data.map(({ changeSeq }) => changeSeq))
      expect(page.hasMore).toBe(numbers.length < 6)
    }
    expect(numbers).toEqual(between(1, 6))
    const filled = await services.gatewayReads.fill({
      conversationId,
      afterSeq: 6,
      afterChangeSeq: 0,
      limit: 100,
    })
    expect(filled).toMatchObject({ throughChangeSeq: filled.changes.length, changeSeq: 6 })
    expect(filled.changes.length).toBeLessThan(6)
    expect(bytes(filled.changes)).toBeLessThan(LIMITS.joinBytes)
  })
})

test('a store that is away fails the call, so that another process is asked', async () => {
  const gatewayReads = {
    join: () => Promise.reject(Object.assign(new Error('reset'), { code: 'ECONNRESET' })),
  }
  const joins = [{ caller: ada, conversationId: new ObjectId().toHexString() }]
  await expect(answerJoins(gatewayReads, joins, context)).rejects.toMatchObject({ code: 'unavailable' })
})
