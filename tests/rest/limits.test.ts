import { randomUUID } from 'node:crypto'
import { type Stack, startStack } from '@parley/devstack'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { listen } from '../support/listener.ts'
import { createRest, type Rest } from '../support/rest.ts'

let stack: Stack
let apis: Rest[]
beforeAll(async () => {
  stack = await startStack({
    apis: 2,
    workers: 0,
    mongodbUri: inject('mongodbUri'),
    env: { RATE_LIMIT_REST: '10', RATE_LIMIT_SEND: '4' },
  })
  apis = await Promise.all(stack.apiUrls.map(createRest))
})
afterAll(() => stack?.close())

const caller = () => stack.token({ sub: `user-${randomUUID()}`, orgId: 'acme' })
const api = (turn: number): Rest => apis[turn % apis.length] as Rest

/** What `count` requests are answered with, in turn by each process. */
async function ask(token: string, count: number): Promise<number[]> {
  const statuses: number[] = []
  for (let i = 0; i < count; i++) statuses.push((await api(i).call('GET', '/me', { token })).status)
  return statuses
}

describe('limits', () => {
  it('count each caller’s requests over all processes, and say so', async () => {
    const token = caller()
    const first = await api(0).call('GET', '/me', { token })
    expect(first.headers.get('ratelimit-limit')).toBe('10')
    expect(first.headers.get('ratelimit-remaining')).toBe('9')
    expect(Number(first.headers.get('ratelimit-reset'))).toBeLessThanOrEqual(60)
    expect(await ask(token, 12)).toEqual([...Array(9).fill(200), 429, 429, 429])
    const refused = await api(0).call('GET', '/me', { token })
    expect(refused.code).toBe('rate_limited')
    expect(refused.body.retryable).toBe(true)
    const wait = Number(refused.headers.get('retry-after'))
    expect(wait).toBeGreaterThan(0)
    expect(wait).toBeLessThanOrEqual(60)
    expect(await ask(caller(), 1)).toEqual([200])
  })

  it('count messages apart from other requests', async () => {
    const token = caller()
    const { id } = await api(0).must<{ id: string }>('POST', '/conversations', { token, body: {} })
    const statuses: number[] = []
    for (let i = 0; i < 6; i++) {
      const body = { conversationId: id, role: 'user', content: 'x' }
      statuses.push((await api(i).call('POST', '/messages', { token, body })).status)
    }
    expect(statuses).toEqual([201, 201, 201, 201, 429, 429])
    expect(await ask(token, 1)).toEqual([200])
  })

  it('count messages by REST, by sockets and as streamed answers together', async () => {
    const bot = `bot-${randomUUID()}`
    const person = caller()
    const agent = stack.token({ sub: bot, orgId: 'acme', type: 'agent' })
    const body = { agentId: bot }
    const { id } = await api(0).must<{ id: string }>('POST', '/conversations', { token: person, body })
    for (const [token, event] of [
      [person, 'message:send'],
      [agent, 'message:stream'],
    ] as const) {
      const { ask: emit, close } = await listen(stack.gatewayUrls[0] ?? '', token)
      const message = { conversationId: id, role: token === agent ? 'assistant' : 'user', content: 'x' }
      const start = () => ({ op: 'start', conversationId: id, clientMessageId: randomUUID() })
      const byRest = async () =>
        (await api(0).call('POST', '/messages', { token, body: message })).code ?? 'ok'
      const bySocket = async () =>
        (await emit(event, event === 'message:send' ? message : start())).error?.code ?? 'ok'
      expect([await byRest(), await bySocket(), await byRest(), await bySocket()]).toEqual(
        Array(4).fill('ok'),
      )
      expect([await byRest(), await bySocket()]).toEqual(['rate_limited', 'rate_limited'])
      close()
    }
  })

  it('count people apart whose orgs and ids only look alike together', async () => {
    const org = randomUUID()
    const body = { title: 'mine' }
    const first = stack.token({ sub: 'user:ada', orgId: org })
    const second = stack.token({ sub: 'ada', orgId: `${org}:user` })
    for (const token of [first, second]) {
      const answer = await api(0).call('POST', '/conversations', { token, body })
      expect(answer.headers.get('ratelimit-remaining')).toBe('9')
    }
  })

  it('count what is asked of a gateway too', async () => {
    const id = `user-${randomUUID()}`
    const token = stack.token({ sub: id, orgId: 'acme', roles: ['admin'] })
    const gateway = (path: string, headers: Record<string, string> = { authorization: `Bearer ${token}` }) =>
      fetch(`${stack.gatewayUrls[0]}${path}`, { headers })
    expect(await ask(token, 6)).toEqual(Array(6).fill(200))
    const answers: Response[] = []
    for (const path of [
      `/presence/user/${id}`,
      '/presence/user',
      '/presence/agent',
      '/presence/user/nobody',
    ]) {
      answers.push(await gateway(path))
    }
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200])
    expect(answers.map(({ headers }) => headers.get('ratelimit-remaining'))).toEqual(['3', '2', '1', '0'])
    const refused = await gateway('/presence/user')
    expect([refused.status, (await api(0).call('GET', '/me', { token })).status]).toEqual([429, 429])
    expect(await refused.json()).toMatchObject({ code: 'rate_limited', retryable: true })
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0)
    expect((await gateway('/presence/user', {})).status).toBe(401)
    expect((await gateway('/health/ready', {})).status).toBe(200)
  })

  it('leave health, metrics and documents alone', async () => {
    for (const path of ['/health/live', '/health/ready', '/openapi.json', '/metrics']) {
      for (let i = 0; i < 15; i++) expect((await api(0).call('GET', path)).status).toBe(200)
    }
  })

  it('are kept by each process for itself while Redis is away, without an error', async () => {
    await stack.kill('redis-0')
    try {
      const token = caller()
      const statuses = await ask(token, 24)
      expect(statuses).toEqual([...Array(20).fill(200), 429, 429, 429, 429])
    } finally {
      await stack.start('redis-0')
    }
  })

  it('cost no request more than a moment while Redis hangs', async () => {
    const token = caller()
    await ask(token, 2)
    stack.pause('redis-0')
    try {
      const started = performance.now()
      expect(await ask(token, 4)).toEqual([200, 200, 200, 200])
      expect(performance.now() - started).toBeLessThan(5_000)
    } finally {
      stack.resume('redis-0')
    }
  })
})
