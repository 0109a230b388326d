import { randomUUID } from 'node:crypto'
import { type Stack, startStack } from '@parley/devstack'
import { type Db, MongoClient } from 'mongodb'
import { afterAll, beforeAll, expect, inject, it, vi } from 'vitest'
import { createRest, type Rest } from '../support/rest.ts'
import { each } from '../support/until.ts'

let stack: Stack
let rest: Rest
let mongo: MongoClient
let db: Db

/** Far more than any page, so that a query which looks at too much stands out. */
const MESSAGES = 400
const CONVERSATIONS = 60
const LIMIT = 10
/**
 * Rows of participants that a page of conversations shows with them: seven each, and some that a filter passes over.
 */
const SHOWN = 10 * LIMIT

const orgId = `org-${randomUUID()}`
const token = () => stack.token({ sub: 'ada', orgId })
const admin = () => stack.token({ sub: 'root', orgId, roles: ['admin'] })
const agent = () => stack.token({ sub: 'bot', type: 'agent', orgId })
let conversationId: string
let messageId: string

beforeAll(async () => {
  stack = await startStack({
    gateways: 0,
    workers: 0,
    mongodbUri: inject('mongodbUri'),
    env: { RATE_LIMIT_REST: '0', RATE_LIMIT_SEND: '0', AGENT_HOP_LIMIT: '10000' },
  })
  rest = await createRest(stack.apiUrl)
  mongo = await MongoClient.connect(stack.mongodbUri)
  db = mongo.db()
  const ids: string[] = []
  await each(Array(CONVERSATIONS).keys(), 8, async (i) => {
    const body = {
      title: `Conversation ${i}`,
      agentId: 'bot',
      tags: [`tag-${i % 2}`],
      externalId: `ticket-${i}`,
      participants: Array.from({ length: 5 }, (_, n) => ({ type: 'user', id: `user-${n}` })),
    }
    ids.push((await rest.must<{ id: string }>('POST', '/conversations', { token: token(), body })).id)
  })
  conversationId = ids[0] ?? ''
  const send = (cid: string, i: number, more: object = {}) =>
    rest.must<{ id: string }>('POST', '/messages', {
      token: i % 2 === 0 ? token() : agent(),
      body: {
        conversationId: cid,
        role: i % 2 === 0 ? 'user' : 'assistant',
        content: `word${i} parcel`,
        ...more,
      },
    })
  messageId = (await send(conversationId, 0)).id
  await each(Array(MESSAGES).keys(), 16, async (i) => {
    await send(conversationId, i, {
      ...(i % 3 === 0 ? { parentId: messageId } : {}),
      ...(i % 3 === 1 ? { attachments: ['https://a.test/x'] } : {}),
    })
  })
  await each(ids, 8, async (id) => {
    await send(id, 0)
  })
  for (let i = 0; i < 30; i++) {
    await rest.must('PUT', `/conversations/${conversationId}`, {
      token: token(),
      body: { title: `Title ${i}` },
    })
  }
  const unsettled = () => db.collection('messages').countDocuments({ unsettled: true })
  await vi.waitFor(async () => expect(await unsettled()).toBe(0), { timeout: 20_000, interval: 50 })
  // The words of messages are indexed in the background, which reads messages as well.
  const unindexed = async () => {
    const [heads, indexed] = await Promise.all(
      ['conversations', 'searchHeads'].map((name) => db.collection(name).find().toArray()),
    )
    const through = new Map(indexed?.map(({ _id, indexedSeq }) => [String(_id), Number(indexedSeq)]))
    return heads?.filter(({ _id, settledSeq }) => (through.get(String(_id)) ?? 0) < settledSeq).length
  }
  await vi.waitFor(async () => expect(await unindexed()).toBe(0), { timeout: 60_000, interval: 50 })
}, 120_000)
afterAll(async () => {
  await mongo?.close()
  await stack?.close()
})

interface Profiled {
  op: string
  ns: string
  planSummary?: string
  docsExamined?: number
  keysExamined?: number
  command: Record<string, unknown>
}

/** What MongoDB did while `run` ran: its own record of each operation, with the plan that it executed. */
async function profiled(run: () => Promise<unknown>): Promise<Profiled[]> {
  await db.command({ profile: 0 })
  await db
    .collection('system.profile')
    .drop()
    .catch(() => undefined)
  await db.command({ profile: 2, slowms: 0 })
  await run()
  await db.command({ profile: 0 })
  return db
    .collection<Profiled>('system.profile')
    .find({ ns: { $not: /system\.profile/ }, planSummary: { $exists: true } })
    .toArray()
}

/** Every way to ask, and how many documents one of its queries may look at. */
const CALLS: [call: string, who: () => string, documents: number][] = [
  ['GET /conversations', token, SHOWN],
  ['GET /conversations', admin, SHOWN],
  ['GET /conversations?status=active', token, SHOWN],
  ['GET /conversations?status=active', admin, SHOWN],
  ['GET /conversations?tag=tag-1', token, SHOWN],
  ['GET /conversations?tag=tag-1', admin, SHOWN],
  ['GET /conversations?agentId=bot', admin, SHOWN],
  ['GET /conversations?externalId=ticket-7', token, SHOWN],
  ['GET /conversations/my-conversations', token, SHOWN],
  ['GET /conversations/agent/bot', token, SHOWN],
  ['GET /conversations/agent/bot', agent, SHOWN],
  ['POST /conversations/agent/bot/auto', agent, 10],
  ['GET /conversations/:c', token, 20],
  ['GET /conversations/:c/participants', token, LIMIT + 1],
  ['GET /conversations/:c/changes', token, LIMIT + 1],
  ['GET /conversations/:c/changes?after=20', token, LIMIT + 1],
  ['GET /conversations/:c/audit', token, LIMIT + 1],
  ['GET /messages/conversation/:c', token, LIMIT + 1],
  ['GET /messages/conversation/:c?before=300', token, LIMIT + 1],
  ['GET /messages/conversation/:c?after=100', token, LIMIT + 1],
  ['GET /messages/conversation/:c?around=200', token, LIMIT + 1],
  ['GET /messages/conversation/:c/role/assistant', token, 3 * LIMIT],
  ['GET /messages/conversation/:c/attachments', token, LIMIT + 1],
  ['GET /messages/conversation/:c/last/10', token, 11],
  ['GET /messages/conversation/:c/search?q=word7', token, 3 * LIMIT],
  ['GET /messages/thread/:m', token, LIMIT + 1],
  ['GET /messages/:m', token, 2],
  // Those two count everything; the index still has to lead to it.
  ['GET /messages/conversation/:c/statistics', token, 2 * MESSAGES],
  ['GET /me', token, 2 * CONVERSATIONS],
  ['GET /conversations/:c/context?recent=10', token, 3 * LIMIT],
  ['POST /conversations/:c/read', token, 20],
  ['PUT /conversations/:c', token, 20],
  ['POST /conversations/:c/participants', token, 20],
  ['POST /conversations', token, 20],
  ['POST /messages', token, 20],
]

const BODIES: Record<string, () => unknown> = {
  'POST /conversations/:c/read': () => ({ seq: 5 }),
  'PUT /conversations/:c': () => ({ title: `Title ${randomUUID()}` }),
  'POST /conversations/:c/participants': () => ({ type: 'user', id: `user-${randomUUID()}` }),
  'POST /conversations': () => ({ externalId: randomUUID() }),
  'POST /messages': () => ({ conversationId, role: 'user', content: 'x', clientMessageId: randomUUID() }),
}
const WITHOUT_LIMIT = /last|statistics|\/me$|context|auto|^(PUT|POST)|\/conversations\/:c$|messages\/:m$/

it.each(CALLS)('%s looks at no more than it must', async (call, who, documents) => {
  const [method = '', template = ''] = call.split(' ')
  const filled = template.replace(':c', conversationId).replace(':m', messageId)
  const path = WITHOUT_LIMIT.test(call)
    ? filled
    : `${filled}${filled.includes('?') ? '&' : '?'}limit=${LIMIT}`
  const body = BODIES[call]
  const operations = await profiled(() =>
    rest.must(method, path, { token: who(), ...(body ? { body: body() } : {}) }),
  )
  const queries = operations.filter(({ docsExamined }) => docsExamined !== undefined)
  if (!call.startsWith('POST')) expect(queries.length).toBeGreaterThan(0)
  for (const { ns, planSummary = '', docsExamined = 0, command } of queries) {
    const what = `${ns} ${planSummary} ${JSON.stringify(command).slice(0, 300)}`
    expect(planSummary, what).not.toContain('COLLSCAN')
    expect(docsExamined, what).toBeLessThanOrEqual(documents)
  }
})

it('what runs by itself is served by indexes, too', async () => {
  const operations = await profiled(async () => {
    const end = performance.now() + 2_500
    await vi.waitFor(() => expect(performance.now()).toBeGreaterThan(end), { interval: 100 })
  })
  expect(operations.length).toBeGreaterThan(2)
  for (const { ns, planSummary = '', docsExamined = 0, command } of operations) {
    const what = `${ns} ${planSummary} ${JSON.stringify(command).slice(0, 300)}`
    expect(planSummary, what).not.toContain('COLLSCAN')
    expect(docsExamined, what).toBeLessThanOrEqual(10)
  }
})
