import type { ClientResult } from '@parley/contract'
import { expect, it } from 'vitest'
import type { Connection, ConnectionEvents } from './connection.ts'
import { createEmitter } from './emitter.ts'
import { createHttp } from './http.ts'
import { createRest } from './rest.ts'
import { createRoom } from './room.ts'
import { createSender } from './sender.ts'
import { createWorld } from './testing/fake-server.ts'
import { createTokenSource } from './tokens.ts'

const joined: ClientResult<'conversation:join'> = {
  lastSeq: 5,
  changeSeq: 0,
  readSeq: 0,
  unread: 0,
  messages: [],
  hasMore: false,
  changes: [],
  receipts: [],
  online: { users: [], agents: [] },
}

it('does not take what arrives in one packet with the acknowledgement of its join for a gap', async () => {
  const world = createWorld()
  for (let i = 0; i < 7; i++) world.append({ clientMessageId: null })
  const closed = new AbortController().signal
  const acknowledge = Promise.withResolvers<typeof joined>()
  const connection: Connection = {
    state: 'connected',
    events: createEmitter<ConnectionEvents>(),
    connect: () => Promise.resolve(),
    request: () => acknowledge.promise as Promise<never>,
    tell: () => undefined,
    refresh: () => Promise.resolve(),
    close: () => undefined,
  }
  const tokens = createTokenSource('t')
  // Whatever is fetched fails: nothing needs to be.
  const http = createHttp(['http://127.0.0.1:9'], tokens, closed)
  const rest = createRest(http, http)
  const sender = createSender(connection, rest, tokens, closed)
  const room = createRoom(world.conversationId, { connection, rest, sender, role: 'user', closed })
  const seen: number[] = []
  room.on('message:new', ({ seq }) => seen.push(seq))

  const joining = room.join()
  await Promise.resolve()
  await Promise.resolve()
  acknowledge.resolve(joined)
  for (const message of world.messages.slice(5)) {
    room.receive('message:new', { ...message, prevSeq: message.seq - 1 })
  }
  await joining
  expect(seen).toEqual([6, 7])
  expect(room.state).toBe('live')
})
