import { randomUUID } from 'node:crypto'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type Stack, startStack } from '@parley/devstack'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Listener, listen } from '../support/listener.ts'
import { openSocket } from '../support/socket.ts'
import { until } from '../support/until.ts'

const ORG = 'leaks'
const NOWHERE = 'f'.repeat(24)

let stack: Stack
let model: Server
/** What must turn up nowhere, by what it is. */
const planted: Record<string, string> = {}
/** All that services wrote, and all refusals that they sent. */
const logs: string[] = []
const refusals: string[] = []

function plant(what: string, value = `planted-${randomUUID()}`): string {
  planted[what] = value
  return value
}

/** A language model that fails in the ways that models do, and says back what it was told. */
async function startModel(): Promise<string> {
  let calls = 0
  model = createServer((request, response) => {
    let prompt = ''
    request.on('data', (chunk) => {
      prompt += chunk
    })
    request.on('end', () => {
      const [status, type] = ++calls % 2 === 1 ? [500, 'application/json'] : [200, 'text/html']
      response.writeHead(status, { 'content-type': type })
      response.end(status === 500 ? JSON.stringify({ error: { message: prompt } }) : prompt)
    })
  })
  await new Promise<void>((resolve) => model.listen(0, '127.0.0.1', resolve))
  return `http://127.0.0.1:${(model.address() as AddressInfo).port}/v1`
}

beforeAll(async () => {
  const jwtSecret = plant('the secret of tokens', randomUUID() + randomUUID())
  const serviceSecret = plant('the secret of services', randomUUID() + randomUUID())
  stack = await startStack({
    jwtSecret,
    serviceSecret,
    supervise: true,
    serviceOutput: true,
    log: (line) => logs.push(line),
    env: { LOG_LEVEL: 'trace', RATE_LIMIT_REST: '0', RATE_LIMIT_SEND: '0' },
    serviceEnv: {
      worker: {
        SUMMARY_MODEL_URL: await startModel(),
        SUMMARY_MODEL: 'failing',
        SUMMARY_API_KEY: plant('the key of the model'),
      },
    },
  })
})
afterAll(async () => {
  await stack?.close()
  model.closeAllConnections()
  await new Promise((done) => model.close(done))
})

const tokenOf = (sub: string, type: 'user' | 'agent' = 'user') => {
  const token = stack.token({ sub, type, orgId: ORG })
  plant(`the signature of ${sub}'s token`, token.split('.')[2])
  return token
}

async function call(method: string, path: string, token: string, body?: unknown): Promise<Response> {
  const response = await fetch(`${stack.apiUrl}${path}`, {
    method,
    headers: {
      authorization: `Bearer ${token}`,
      ...(body !== undefined && { 'content-type': 'application/json' }),
    },
    ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  })
  if (!response.ok) refusals.push(await response.clone().text())
  return response
}

async function ask(socket: Listener, event: string, payload: unknown): Promise<void> {
  const answer = await socket.ask(event, payload)
  if (!answer.ok) refusals.push(JSON.stringify(answer))
}

/** Everything that is right, once. */
async function chat(ada: string, bot: string): Promise<string> {
  const participants = [{ type: 'agent', id: 'bot' }]
  const body = { title: plant('a title'), participants, metadata: { note: plant('metadata') } }
  const { id } = (await (await call('POST', '/conversations', ada, body)).json()) as { id: string }
  const message = {
    conversationId: id,
    role: 'user',
    content: plant('a message'),
    clientMessageId: 'one',
    attachments: [`https://files.example.com/${plant('an attachment')}`],
    metadata: { note: plant('metadata of a message') },
  }
  expect((await call('POST', '/messages', ada, message)).status).toBe(201)
  const query = encodeURIComponent(plant('what somebody looks for'))
  expect((await call('GET', `/messages/conversation/${id}/search?q=${query}`, ada)).status).toBe(200)

  const agent = await listen(stack.gatewayUrls[0] ?? '', bot)
  await agent.sure('conversation:join', { conversationId: id })
  const start = { op: 'start', conversationId: id, clientMessageId: 'answer' } as const
  const { messageId } = await agent.sure('message:stream', start)
  const text = plant('a letter of an answer')
  await ask(agent, 'message:stream', { op: 'delta', messageId, index: 0, text })
  await ask(agent, 'message:stream', { op: 'delta', messageId, index: 3, text: plant('a letter too far') })
  await ask(agent, 'message:stream', { op: 'abort', messageId, reason: plant('why it was given up') })
  await ask(agent, 'message:send', {
    conversationId: id,
    role: 'assistant',
    content: plant('a sent message'),
  })
  agent.close()
  return id
}

/** Everything that is wrong. */
async function fail(id: string, ada: string): Promise<void> {
  const content = plant('a refused message')
  const message = { conversationId: id, role: 'user', content }
  for (const body of [
    `{"conversationId":"${id}","content":${content}}`,
    `${content}`,
    JSON.stringify(content),
    { ...message, content: { text: content } },
    { ...message, role: content },
    { ...message, conversationId: NOWHERE },
    { ...message, parentId: content },
    { ...message, clientMessageId: 'one' },
    { ...message, attachments: [content] },
    { ...message, metadata: content },
    { ...message, content: content.repeat(4_000) },
  ]) {
    expect((await call('POST', '/messages', ada, body)).status).toBeGreaterThanOrEqual(400)
  }
  const stolen = plant('a token that is not one')
  for (const path of [
    '/me',
    '/conversations',
    `/messages/conversation/${id}?limit=${stolen}&token=${stolen}`,
  ]) {
    await call('GET', path, stolen)
    refusals.push(
      await (
        await fetch(`${stack.gatewayUrls[0]}/presence/user/ada`, { headers: { authorization: stolen } })
      ).text(),
    )
  }
  await call('GET', `/messages/conversation/${id}?cursor=${plant('a cursor that is not one')}`, ada)
  await call('GET', `/messages/conversation/${id}?access_token=${plant('a token in a query')}`, ada)

  for (const token of [stolen, `${ada.slice(0, -5)}.${stolen}`]) {
    await openSocket(stack.gatewayUrls[0] ?? '', token, { query: { token: stolen } }).catch(
      (error: unknown) => {
        refusals.push(JSON.stringify([String(error), (error as { data?: object }).data]))
      },
    )
  }
  const socket = await listen(stack.gatewayUrls[0] ?? '', ada)
  await ask(socket, 'message:send', { ...message, role: content })
  await ask(socket, 'message:send', { ...message, conversationId: NOWHERE })
  await ask(socket, 'message:send', { ...message, clientMessageId: 'one' })
  await ask(socket, 'message:send', content)
  await ask(socket, 'message:typing', { conversationId: id, isTyping: content })
  await ask(socket, 'auth:refresh', { token: stolen })
  await ask(socket, 'conversation:join', { conversationId: content })
  socket.close()
}

/** Everything right again, while what it needs is broken. */
async function suffer(id: string, ada: string): Promise<void> {
  const say = () => {
    const body = {
      conversationId: id,
      role: 'user',
      content: plant(`message ${Object.keys(planted).length}`),
    }
    return call('POST', '/messages', ada, body).catch(() => undefined)
  }
  const redis = new Redis(stack.redisUrl)
  const wrong = ['events:{0}', 'events:{1}', 'events:{2}', 'events:{3}', 'events:control']
  await redis.del(...wrong)
  for (const key of wrong) await redis.set(key, 'not a stream')
  await Promise.all([say(), say(), say()])
  await redis.flushall()
  await redis.quit()
  for (const name of ['redis-0', 'mongod-0', 'gateway-0', 'api-0']) {
    const saying = Array.from({ length: 20 }, say)
    await stack.kill(name)
    await Promise.all([...saying, say()])
    await stack.waitReady()
  }
}

test('secrets, tokens and what people write are in no log, no metric and no refusal', async () => {
  const [ada, bot] = [tokenOf('ada'), tokenOf('bot', 'agent')]
  const id = await chat(ada, bot)
  await fail(id, ada)
  for (let count = 0; count < 12; count++) {
    await call('POST', '/messages', ada, {
      conversationId: id,
      role: 'user',
      content: plant(`line ${count}`),
    })
  }
  await until(() => logs.some((line) => line.startsWith('worker-0') && line.includes('model')), {
    what: 'a word of the worker about its model',
  })
  await suffer(id, ada)

  const metrics = await Promise.all(
    [...stack.apiUrls, ...stack.gatewayUrls, ...stack.workerUrls].map(async (url) =>
      (await fetch(`${url}/metrics`)).text(),
    ),
  )
  for (const said of ['redis is away', 'messages wait to be published', 'the model did not summarise']) {
    expect(logs.some((line) => line.includes(said))).toBe(true)
  }
  expect(refusals.length).toBeGreaterThan(20)
  const found = Object.entries(planted).flatMap(([what, value]) => {
    const places = { log: logs, metric: metrics, refusal: refusals }
    return Object.entries(places).flatMap(([where, texts]) => {
      const text = texts.find((one) => one.includes(value))
      return text === undefined ? [] : [`${what} in a ${where}: ${text}`]
    })
  })
  expect(found).toEqual([])
})
