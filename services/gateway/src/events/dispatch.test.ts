import { CLIENT_EVENTS, type ClientEvent, problem } from '@parley/contract'
import type { ApiClient } from '@parley/service-kit'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { createFakeApi } from '../testing/fake-api.ts'
import { startTestGateway } from '../testing/gateway.ts'

/** Until this settles the api does not answer about messages. */
let held = Promise.resolve()
const api: ApiClient = {
  ...createFakeApi().api,
  async asCaller() {
    await held
    throw problem('unavailable')
  },
}
let gateway: Awaited<ReturnType<typeof startTestGateway>>
beforeAll(async () => {
  gateway = await startTestGateway(api, { RATE_LIMIT_EVENTS: '1', RATE_LIMIT_CONNECT: '0' })
})
afterAll(() => gateway.close())

/** How many of the events that one socket sends at once get through. */
async function passing(event: string, op = 'delta'): Promise<number> {
  const socket = await gateway.connect(gateway.token('ada', 'acme'))
  const clock = vi.spyOn(performance, 'now').mockReturnValue(performance.now())
  const payload = event === 'message:stream' ? { op, messageId: 'f'.repeat(24), index: 0, text: '' } : {}
  const answers = await Promise.all(Array.from({ length: 250 }, () => socket.emitWithAck(event, payload)))
  clock.mockRestore()
  socket.disconnect()
  return answers.filter(({ error }) => error.code !== 'rate_limited').length
}

it('takes from a socket’s allowance by the kind of event: much for joins, next to nothing for deltas', async () => {
  const passed: Partial<Record<ClientEvent, number>> = {}
  for (const event of Object.keys(CLIENT_EVENTS) as ClientEvent[]) passed[event] = await passing(event)
  expect(passed).toEqual({
    'conversation:join': 5,
    'conversation:leave': 10,
    'conversation:online': 10,
    'message:send': 10,
    'message:typing': 20,
    'message:read': 10,
    // Not 200, since a twentieth has no exact binary representation.
    'message:stream': 199,
    'message:cancel': 10,
    'auth:refresh': 2,
  })
  for (const op of ['start', 'end', 'abort']) expect(await passing('message:stream', op)).toBe(10)
})

it('takes 1 for an event named like a member of every object: the allowance was gone for good', async () => {
  for (const event of ['toString', 'constructor', '__proto__']) expect(await passing(event)).toBe(10)
})

it('takes 1 for an event that is named by a number: it cost nothing and was never answered', async () => {
  expect(await passing(7 as never)).toBe(10)
})

/** Sends messages to one conversation while the api holds back its answers. */
async function openSender() {
  const socket = await gateway.connect(gateway.token('ada', 'acme'))
  const { promise, resolve } = Promise.withResolvers<void>()
  held = promise
  const message = { conversationId: 'f'.repeat(24), role: 'assistant', content: 'x' }
  return {
    goOn: resolve,
    /** The code of what it is refused with. */
    async send(more: object = {}): Promise<string> {
      const answer = await socket.timeout(4_000).emitWithAck('message:send', { ...message, ...more })
      return answer.error.code
    },
  }
}

it('lets nothing invalid wait', async () => {
  const { send, goOn } = await openSender()
  const first = send()
  expect(await send({ nonsense: true })).toBe('validation_failed')
  goOn()
  expect(await first).toBe('unavailable')
})

it('bounds what may wait for one socket, counted as it is in memory: twenty times its JSON', async () => {
  const { send, goOn } = await openSender()
  const large = { toolCalls: [{ id: 'a', name: 'b', arguments: Array.from({ length: 30_000 }, () => ({})) }] }
  const waiting = [send(large), send(large)]
  expect(await send(large)).toBe('rate_limited')
  goOn()
  expect(await Promise.all(waiting)).toEqual(['unavailable', 'unavailable'])
  expect(await send(large)).toBe('unavailable')
})
