import { afterAll, afterEach, beforeAll, expect, inject, test } from 'vitest'
import type { Listener } from '../support/listener.ts'
import { openScene, type Scene } from './scene.ts'

let scene: Scene
beforeAll(async () => {
  scene = await openScene({ gateways: 1, mongodbUri: inject('mongodbUri'), env: { AGENT_HOP_LIMIT: '2' } })
})
afterEach(() => scene.hangUp())
afterAll(() => scene.close())

type Say = (key: string, from: Listener, conversationId: string) => Promise<string>
const roleOf = (key: string) => (key.startsWith('agent:') ? 'assistant' : 'user')
let keys = 0

/** The ways to write; each says `ok`, or the code and status that it was refused with. */
const byRest: Say = async (key, _from, conversationId) => {
  const { status, body } = await scene
    .http(key)
    .once<{ code?: string }>('POST', '/messages', { conversationId, role: roleOf(key), content: 'by REST' })
  return status < 300 ? 'ok' : `${body.code} ${status}`
}
const bySocket = (event: string, payloadOf: (key: string) => object): Say => {
  return async (key, from, conversationId) => {
    const { ok, error } = await from.ask(event, { conversationId, ...payloadOf(key) })
    return ok ? 'ok' : `${error?.code} ${error?.status}`
  }
}
const send = bySocket('message:send', (key) => ({ role: roleOf(key), content: 'by socket' }))
const start = bySocket('message:stream', () => ({ op: 'start', clientMessageId: `answer-${keys++}` }))

test.each([
  ['REST', byRest, send],
  ['a socket', send, byRest],
  ['a streamed answer', start, send],
])(
  'agents that answer each other by %s stop at the limit, until a person writes',
  async (_way, say, other) => {
    const { ada, one, two } = scene.names('ada', 'one', 'two')
    const [first, second] = [`agent:${one}`, `agent:${two}`]
    const id = await scene.conversation(ada, first, second)
    const person = await scene.connect(ada)
    const agents = { [first]: await scene.connect(first), [second]: await scene.connect(second) }
    const turn = (speak: Say, key: string) => speak(key, agents[key] ?? person, id)

    for (const people of [byRest, send]) {
      // However they came, all count together.
      expect([await turn(other, first), await turn(say, second)]).toEqual(['ok', 'ok'])
      for (const key of [first, second]) expect(await turn(say, key)).toBe('agent_loop 409')
      expect(await turn(people, ada)).toBe('ok')
    }
    expect([await turn(say, second), await turn(say, second)]).toEqual(['ok', 'ok'])
    expect(await turn(say, first)).toBe('agent_loop 409')
  },
)
