import { CLIENT_EVENTS, type ClientEvent } from '@parley/contract'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { createFakeApi } from '../testing/fake-api.ts'
import { startTestGateway } from '../testing/gateway.ts'

let gateway: Awaited<ReturnType<typeof startTestGateway>>
beforeAll(async () => {
  gateway = await startTestGateway(createFakeApi().api, { RATE_LIMIT_EVENTS: '1', RATE_LIMIT_CONNECT: '0' })
})
afterAll(() => gateway.close())

/** How many get through of those that one socket sends in one moment. */
async function passing(event: string, op = 'delta'): Promise<number> {
  const socket = await gateway.connect(gateway.token('ada', 'acme'))
  const clock = vi.spyOn(performance, 'now').mockReturnValue(performance.now())
  const payload = event === 'message:stream' ? { op, messageId: 'f'.repeat(24), index: 0, text: '' } : {}
  const answers = await Promise.all(Array.from({ length: 250 }, () => socket.emitWithAck(event, payload)))
  clock.mockRestore()
  socket.disconnect()
  return answers.filter(({ error }) => error.code !== 'rate_limited').length
}

it('takes from a socket’s allowance by the kind of event: joins much, letters of an answer next to nothing', async () => {
  const passed: Partial<Record<ClientEvent, number>> = {}
  for (const event of Object.keys(CLIENT_EVENTS) as ClientEvent[]) passed[event] = await passing(event)
  expect(passed).toEqual({
    'conversation:join': 5,
    'conversation:leave': 10,
    'conversation:online': 10,
    'message:send': 10,
    'message:typing': 20,
    'message:read': 10,
    // And not 200: a twentieth is no binary fraction.
    'message:stream': 199,
    'message:cancel': 10,
    'auth:refresh': 2,
  })
  for (const op of ['start', 'end', 'abort']) expect(await passing('message:stream', op)).toBe(10)
})

it('keeps to it also where an event is named like a member of every object: the allowance was gone for good', async () => {
  for (const event of ['toString', 'constructor', '__proto__']) expect(await passing(event)).toBe(10)
})

it('keeps to it also where an event is named by a number: it cost nothing and was never answered', async () => {
  expect(await passing(7 as never)).toBe(10)
})
