import { createLogger } from '@parley/service-kit'
import { expect, it, vi } from 'vitest'
import type { Outbound } from '../connection/outbound.ts'
import type { ChatSocket } from '../sockets.ts'
import { createFakeApi, newId } from '../testing/fake-api.ts'
import { createFakeSocket } from '../testing/fake-socket.ts'
import { createBeat } from './beat.ts'
import { createStreamOwner, STREAM_TIMES } from './owner.ts'
import type { Ownership, StreamStore } from './store.ts'

/** An answer whose agent has no time to come back; `touched` says whose it is, as soon as the test knows. */
function open(socket: ChatSocket) {
  const { api, calls } = createFakeApi()
  const touched = Promise.withResolvers<Ownership>()
  const touch = vi.fn(() => touched.promise)
  const owner = createStreamOwner(
    { conversationId: newId(), messageId: newId(), seq: 1, orgId: 'acme', author: 'agent:bot' },
    { text: 'Hel', token: 'first', claimed: true, socket, stored: true },
    {
      api,
      store: { touch } as Partial<StreamStore> as StreamStore,
      beat: createBeat(STREAM_TIMES.beatMs),
      outbound: { emit: () => undefined } as Partial<Outbound> as Outbound,
      logger: createLogger({ name: 'test', level: 'silent' }),
      times: { ...STREAM_TIMES, orphanMs: 0 },
      deliver: () => undefined,
      onOver: () => undefined,
    },
  )
  return { owner, calls, touch, touched }
}

it('goes on where its agent came back just as the time for it was over', async () => {
  const [before, after] = [createFakeSocket().socket, createFakeSocket().socket]
  const { owner, calls, touch, touched } = open(before)
  owner.orphaned(before)
  await vi.waitFor(() => expect(touch).toHaveBeenCalled())
  owner.resume({ socket: after, token: 'second', claimed: true, stored: 'Hel' })
  touched.resolve('owned')
  await new Promise(setImmediate)
  expect(calls).toEqual([])
  owner.drop()
})
