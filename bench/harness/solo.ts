import { type Stack, type StackOptions, startStack } from '@parley/devstack'
import { createHttpClient, type HttpClient } from './load.ts'
import { percentile } from './measure.ts'

/** Parley without rate limits, and one person's calls to it. */
export interface Solo {
  stack: Stack
  http: HttpClient
  token: string
  /** A conversation of that person's with one message in it. */
  conversation(): Promise<string>
  send(conversationId: string, content: string): Promise<void>
  get(path: string): Promise<string>
  close(): Promise<void>
}

export async function startSolo(options: StackOptions = {}): Promise<Solo> {
  const stack = await startStack({
    gateways: 0,
    workers: 0,
    ...options,
    env: { RATE_LIMIT_REST: '0', RATE_LIMIT_SEND: '0', RATE_LIMIT_EVENTS: '0', RATE_LIMIT_CONNECT: '0' },
  })
  const http = createHttpClient(stack.apiUrl, 64)
  const token = stack.token({ sub: 'solo', type: 'user', orgId: 'bench', expiresIn: 7_200 })
  const solo: Solo = {
    stack,
    http,
    token,
    async conversation() {
      const { id } = JSON.parse(await http.call('POST', '/conversations', token, {}, 201)) as { id: string }
      await solo.send(id, 'the first')
      return id
    },
    async send(conversationId, content) {
      await http.call('POST', '/messages', token, { conversationId, role: 'user', content }, 201)
    },
    get: (path) => http.call('GET', path, token, undefined, 200),
    async close() {
      await http.close()
      await stack.close()
    },
  }
  return solo
}

/** Milliseconds that a call takes, one after the other: the median of `times`. */
export async function medianMs(times: number, call: (turn: number) => Promise<unknown>): Promise<number> {
  const taken: number[] = []
  for (let turn = 0; turn < times; turn++) {
    const asked = performance.now()
    await call(turn)
    taken.push(performance.now() - asked)
  }
  return percentile(taken, 0.5)
}
