import { randomUUID } from 'node:crypto'
import { type Stack, startStack } from '@parley/devstack'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { createRest, type Rest } from '../support/rest.ts'
import { joinRoom, openSocket } from '../support/socket.ts'

interface Message {
  id: string
  seq: number
  content: string
}
interface Conversation {
  id: string
  contextSummary: string | null
  summaryCoversSeq: number
}
interface Context {
  summary: string | null
  coversSeq: number
  messages: Message[]
  tokens: number
}
interface Updated {
  conversationId: string
  changeSeq: number
  changed: string[]
  conversation: Conversation
}

let stack: Stack
let rest: Rest
beforeAll(async () => {
  stack = await startStack({
    workers: 1,
    mongodbUri: inject('mongodbUri'),
    env: { RATE_LIMIT_REST: '0', RATE_LIMIT_SEND: '0' },
  })
  rest = await createRest(stack.apiUrl)
})
afterAll(() => stack?.close())

const org = `org-${randomUUID()}`
const token = (sub: string) => stack.token({ sub, orgId: org, type: 'user', name: sub })
const ada = () => token('ada')

async function conversation(participants: object[] = []): Promise<string> {
  const { id } = await rest.must<Conversation>('POST', '/conversations', {
    token: ada(),
    body: { participants },
  })
  return id
}

async function say(id: string, lines: readonly string[]): Promise<Message[]> {
  const sent: Message[] = []
  for (const content of lines) {
    const body = { conversationId: id, role: 'user', content }
    sent.push(await rest.must<Message>('POST', '/messages', { token: ada(), body }))
  }
  return sent
}

const lines = (from: number, to: number): string[] =>
  Array.from({ length: to - from + 1 }, (_, i) => `We agreed on item A-${from + i} for $${(from + i) * 100}.`)
const head = (id: string) => rest.must<Conversation>('GET', `/conversations/${id}`, { token: ada() })
const context = (id: string, query = '') =>
  rest.must<Context>('GET', `/conversations/${id}/context${query}`, { token: ada() })
const summaryNow = (id: string) =>
  rest.must<Conversation>('POST', `/conversations/${id}/summary?wait=true`, { token: ada() })

test('the tenth message brings a summary, and the room hears of it', async () => {
  const id = await conversation()
  const gatewayUrl = stack.gatewayUrls[0] ?? ''
  const socket = await openSocket(gatewayUrl, ada())
  const heard: Updated[] = []
  socket.on('conversation:updated', (update: Updated) => heard.push(update))
  await joinRoom(socket, id)
  await say(id, lines(1, 10))
  await expect.poll(() => heard.length, { timeout: 10_000 }).toBe(1)
  expect(heard[0]).toMatchObject({
    conversationId: id,
    changeSeq: 1,
    changed: ['contextSummary', 'summaryCoversSeq'],
    conversation: { summaryCoversSeq: 10 },
  })
  expect(heard[0]?.conversation.contextSummary).toContain('A-7')
  socket.disconnect()
})

test('on demand it covers all up to now; a member may ask, an observer may not', async () => {
  const id = await conversation([
    { type: 'user', id: 'bob', role: 'member' },
    { type: 'user', id: 'eve', role: 'observer' },
  ])
  await say(id, lines(1, 3))
  expect(await summaryNow(id)).toMatchObject({ summaryCoversSeq: 3 })
  const queued = await rest.call('POST', `/conversations/${id}/summary`, { token: token('bob') })
  expect(queued).toMatchObject({ status: 202, body: { status: 'queued' } })
  const refused = await rest.call('POST', `/conversations/${id}/summary`, { token: token('eve') })
  expect(refused).toMatchObject({ status: 403, body: { code: 'forbidden' } })
})

test('deleted text is gone from the context at once, and from the summary with its next run', async () => {
  const id = await conversation()
  const sent = await say(id, [...lines(1, 4), 'The password is hunter-4711.', ...lines(6, 20)])
  await expect.poll(async () => (await head(id)).summaryCoversSeq, { timeout: 10_000 }).toBe(20)
  expect((await head(id)).contextSummary).toContain('hunter-4711')
  await rest.call('DELETE', `/messages/${sent[4]?.id}`, { token: ada() })
  expect(JSON.stringify(await context(id))).not.toContain('hunter-4711')
  await expect
    .poll(async () => (await head(id)).contextSummary, { timeout: 10_000 })
    .not.toContain('hunter-4711')
  expect(await head(id)).toMatchObject({ summaryCoversSeq: 20 })
  expect((await context(id)).summary).toContain('A-7')
})

test('context is the summary and the newest messages, within its budget whatever it is', async () => {
  const id = await conversation()
  await say(id, lines(1, 30))
  await expect.poll(async () => (await head(id)).summaryCoversSeq, { timeout: 10_000 }).toBe(30)
  const whole = await context(id, '?maxTokens=8000&recent=12')
  expect(whole).toMatchObject({ coversSeq: 30, summary: (await head(id)).contextSummary })
  expect(whole.messages.map(({ seq }) => seq)).toEqual(Array.from({ length: 12 }, (_, i) => 19 + i))
  for (const maxTokens of [1, 10, 40, 100, 700, 1_000]) {
    const some = await context(id, `?maxTokens=${maxTokens}`)
    expect(some.tokens).toBeLessThanOrEqual(maxTokens)
    expect(some.messages.map(({ seq }) => seq)).toEqual(
      Array.from({ length: some.messages.length }, (_, i) => 31 - some.messages.length + i),
    )
  }
  expect((await context(id, '?maxTokens=100')).messages.length).toBeGreaterThan(0)
})

test('what was said while no worker was there is summarised when one comes back', async () => {
  const id = await conversation()
  await stack.kill('worker-0')
  await say(id, lines(1, 20))
  await stack.start('worker-0')
  await expect.poll(async () => (await head(id)).summaryCoversSeq, { timeout: 20_000 }).toBe(20)
})
