import { createLogger } from '@parley/service-kit'
import { expect, test } from 'vitest'
import { createOutbound } from '../connection/outbound.ts'
import { createFakeSocket } from '../testing/fake-socket.ts'
import type { ClientEventHandler } from './define-event.ts'
import { createDispatch } from './dispatch.ts'

const logger = createLogger({ name: 'test', level: 'silent' })
const MIB = 1024 * 1024
const turn = () => new Promise((resolve) => setImmediate(resolve))

/** Dispatches to handlers that end when they are told to. */
function open(...events: ClientEventHandler['event'][]) {
  const begun: { event: string; payload: unknown; end: (result?: object) => void }[] = []
  const handlers = events.map(
    (event): ClientEventHandler => ({
      event,
      handle: (_socket, payload) => {
        const { promise, resolve } = Promise.withResolvers<object>()
        begun.push({ event, payload, end: (result = {}) => resolve(result) })
        return promise
      },
    }),
  )
  return { begun, dispatch: createDispatch({ handlers, outbound: createOutbound(), logger }) }
}

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
