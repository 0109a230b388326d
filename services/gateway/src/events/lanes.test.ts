import { createLogger } from '@parley/service-kit'
import { describe, expect, test } from 'vitest'
import { createOutbound } from '../connection/outbound.ts'
import type { Services } from '../services.ts'
import { createFakeSocket } from '../testing/fake-socket.ts'
import type { ClientEventHandler } from './define-event.ts'
import { createDispatch } from './dispatch.ts'
import { clientEvents } from './index.ts'

const logger = createLogger({ name: 'test', level: 'silent' })
const MIB = 1024 * 1024
const ROOM = 'c'.repeat(24)
/** An answer streamed there. */
const ANSWER = 'a'.repeat(24)
const turn = () => new Promise((resolve) => setImmediate(resolve))

/** Dispatches to the gateway's handlers, which do nothing but end when told to. */
function open() {
  const begun: { op: string | undefined; end(): void }[] = []
  const conversationOf = (messageId: string) => (messageId === ANSWER ? ROOM : undefined)
  const services = { streams: { conversationOf } } as unknown as Services
  const handlers = clientEvents.map((create): ClientEventHandler => {
    const handler = create(services)
    return {
      ...handler,
      read: (given) => ({
        ...handler.read(given),
        run: () => {
          const { promise, resolve } = Promise.withResolvers<object>()
          const { op, token } = given as { op?: string; token?: string }
          begun.push({ op: op ?? token, end: () => resolve({}) })
          return promise
        },
      }),
    }
  })
  const outbound = createOutbound()
  return { begun, dispatch: createDispatch({ handlers, outbound, logger, isRevoked: () => false }) }
}

describe('events of one conversation are handled in the order they came', () => {
  const send = ['message:send', { conversationId: ROOM, role: 'user', content: 'x' }] as const
  const stream = (op: string) =>
    ['message:stream', { op, messageId: ANSWER, ...(op === 'delta' && { index: 0, text: 'x' }) }] as const

  /** Sends events of one socket all at once; returns what has begun then, and what begins as each of those ends. */
  async function runAll(...events: (readonly [string, object])[]): Promise<string[][]> {
    const { begun, dispatch } = open()
    const { socket } = createFakeSocket()
    for (const [event, payload] of events) dispatch(socket, [event, payload])
    const names = () => begun.map(({ op = 'send' }) => op)
    const steps = [names()]
    for (let ended = 0; ended < begun.length; ended++) {
      begun[ended]?.end()
      await turn()
      steps.push(names().slice(steps.flat().length))
    }
    expect([steps.flat().length, socket.data.session.lanes]).toEqual([events.length, null])
    return steps
  }

  test('the end of an answer before what is sent after it, and after what was sent before', async () => {
    expect(await runAll(stream('end'), send)).toEqual([['end'], ['send'], []])
    expect(await runAll(send, stream('abort'), send)).toEqual([['send'], ['abort'], ['send'], []])
  })

  test('but deltas of an answer wait for no message, only for its end', async () => {
    expect(await runAll(send, stream('delta'))).toEqual([['send', 'delta'], [], []])
    expect(await runAll(send, stream('end'), stream('delta'))).toEqual([['send'], ['end'], ['delta'], []])
  })

  test('and tokens one after the other: the last one stays', async () => {
    const refresh = (token: string) => ['auth:refresh', { token }] as const
    expect(await runAll(refresh('one'), send, refresh('two'))).toEqual([['one', 'send'], ['two'], [], []])
  })

  test('an end whose stream is open on another gateway is ordered by its message alone', async () => {
    const unknown = ['message:stream', { op: 'end', messageId: 'b'.repeat(24) }] as const
    expect(await runAll(send, unknown, stream('end'))).toEqual([['send', 'end'], ['end'], [], []])
  })
})

test('a client that stops reading gets no more answers, and nothing that still waits is begun', async () => {
  const { begun, dispatch } = open()
  const { socket, below } = createFakeSocket()
  const answers: object[] = []
  const join = (conversationId: string) =>
    dispatch(socket, ['conversation:join', { conversationId }, (answer: object) => answers.push(answer)])
  for (const id of [ROOM, ROOM, ROOM, 'e'.repeat(24)]) join(id)
  expect(begun).toHaveLength(2)
  begun[0]?.end()
  await turn()
  expect([begun.length, answers.length]).toEqual([3, 1])

  below.bufferedAmount = MIB + 1
  begun[1]?.end()
  begun[2]?.end()
  await turn()
  expect([begun.length, answers.length, socket.data.session.pending]).toEqual([3, 1, 0])
})
