import { createLogger } from '@parley/service-kit'
import { describe, expect, test } from 'vitest'
import { createOutbound } from '../connection/outbound.ts'
import { createFakeSocket } from '../testing/fake-socket.ts'
import type { ClientEventHandler } from './define-event.ts'
import { createDispatch } from './dispatch.ts'

const logger = createLogger({ name: 'test', level: 'silent' })
const MIB = 1024 * 1024
const ROOM = 'c'.repeat(24)
/** An answer that is streamed there. */
const ANSWER = 'a'.repeat(24)
const turn = () => new Promise((resolve) => setImmediate(resolve))

/** Dispatches to handlers that end when they are told to. */
function open(...events: ClientEventHandler['event'][]) {
  const begun: { op: string | undefined; end(): void }[] = []
  const handlers = events.map(
    (event): ClientEventHandler => ({
      event,
      read: (payload) => ({
        payload,
        run: () => {
          const { promise, resolve } = Promise.withResolvers<object>()
          begun.push({ op: (payload as { op?: string }).op, end: () => resolve({}) })
          return promise
        },
      }),
    }),
  )
  const conversationOf = (messageId: string) => (messageId === ANSWER ? ROOM : undefined)
  const outbound = createOutbound()
  const isRevoked = () => false
  return { begun, dispatch: createDispatch({ handlers, outbound, logger, isRevoked, conversationOf }) }
}

describe('events of one conversation are handled in the order they came', () => {
  const send = ['message:send', { conversationId: ROOM }] as const
  const stream = (op: string) => ['message:stream', { op, messageId: ANSWER }] as const

  /** Events of one socket, all at once; what has begun then, and what begins as each of those ends. */
  async function runAll(...events: (readonly [string, object])[]): Promise<string[][]> {
    const { begun, dispatch } = open('message:send', 'message:stream', 'auth:refresh')
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

  test('the end of an answer before what is sent behind it, and after what was sent before', async () => {
    expect(await runAll(stream('end'), send)).toEqual([['end'], ['send'], []])
    expect(await runAll(send, stream('abort'), send)).toEqual([['send'], ['abort'], ['send'], []])
  })

  test('but letters of an answer wait for no message, only for its end', async () => {
    expect(await runAll(send, stream('delta'))).toEqual([['send', 'delta'], [], []])
    expect(await runAll(send, stream('end'), stream('delta'))).toEqual([['send'], ['end'], ['delta'], []])
  })

  test('and tokens one after the other: the last one stays', async () => {
    const refresh = (op: string) => ['auth:refresh', { op }] as const
    expect(await runAll(refresh('one'), send, refresh('two'))).toEqual([['one', 'send'], ['two'], [], []])
  })

  test('of one that is open elsewhere only by itself', async () => {
    const unknown = ['message:stream', { op: 'end', messageId: 'b'.repeat(24) }] as const
    expect(await runAll(send, unknown, stream('end'))).toEqual([['send', 'end'], ['end'], [], []])
  })
})

test('who stops reading gets no answer more, and nothing of what still waits is begun', async () => {
  const { begun, dispatch } = open('conversation:join')
  const { socket, below } = createFakeSocket()
  const answers: object[] = []
  const join = (conversationId: string) =>
    dispatch(socket, ['conversation:join', { conversationId }, (answer: object) => answers.push(answer)])
  for (const conversationId of ['here', 'here', 'here', 'there']) join(conversationId)
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
