import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { until } from '../support/until.ts'
import { openScene, type Scene } from './scene.ts'

let scene: Scene
beforeAll(async () => {
  scene = await openScene({ env: { RATE_LIMIT_SEND: '0', RATE_LIMIT_EVENTS: '0' } })
})
afterEach(() => scene.hangUp())
afterAll(() => scene.close())

interface Message {
  id: string
  seq: number
  content: string
  prevSeq?: number
  clientMessageId: string | null
}

const text = (conversationId: string, content: string, more: object = {}) => ({
  conversationId,
  role: 'user' as const,
  content,
  ...more,
})

test('three people on two gateways talk at once: everybody has all, in order, once', async () => {
  const people = Object.values(scene.names('ada', 'bob', 'cem'))
  const id = await scene.conversation(...people)
  const listeners = await Promise.all(people.map((key, index) => scene.join(key, id, index % 2)))
  const each = 40
  await Promise.all(
    listeners.flatMap((listener, who) =>
      Array.from({ length: each }, (_, turn) =>
        listener.sure('message:send', text(id, `${who}/${turn}`, { clientMessageId: `${who}/${turn}` })),
      ),
    ),
  )
  const total = each * people.length
  const logs = await Promise.all(
    listeners.map(async (listener) => {
      await until(() => listener.of('message:new').length >= total)
      return listener.of('message:new')
    }),
  )
  for (const log of logs) {
    expect(log.map(({ seq }) => seq)).toEqual(Array.from({ length: total }, (_, index) => index + 1))
    expect(log.map(({ prevSeq }) => prevSeq)).toEqual(Array.from({ length: total }, (_, index) => index))
    expect(log).toEqual(logs[0])
    // Of one socket's sends the order is that in which it sent them.
    for (const who of people.keys()) {
      const own = log.filter(({ content }) => content.startsWith(`${who}/`))
      expect(own.map(({ content }) => content)).toEqual(own.map((_, turn) => `${who}/${turn}`))
    }
  }
})

test('the sender gets acknowledgement, message:sent and message:new, all of one message', async () => {
  const { ada } = scene.names('ada')
  const id = await scene.conversation(ada)
  const a = await scene.join(ada, id)
  const { message } = await a.sure('message:send', text(id, 'hello', { clientMessageId: 'k' }))
  const news = await a.first('message:new')
  const { prevSeq, ...same } = news
  expect(prevSeq).toBe(0)
  expect(same).toEqual(message)
  expect(await a.first('message:sent')).toEqual({ clientMessageId: 'k', message })
})

test('sending needs no join', async () => {
  const { ada, bob } = scene.names('ada', 'bob')
  const id = await scene.conversation(ada, bob)
  const b = await scene.join(bob, id, 1)
  const a = await scene.connect(ada)
  await a.sure('message:send', text(id, 'from outside'))
  expect(await b.first('message:new')).toMatchObject({ content: 'from outside', seq: 1 })
  expect(a.of('message:new')).toEqual([])
  expect(await a.first('conversation:activity')).toMatchObject({ conversationId: id, lastSeq: 1 })
})

test('one idempotency key makes one message, by REST and two gateways at once', async () => {
  const { ada } = scene.names('ada')
  const id = await scene.conversation(ada)
  const sockets = [await scene.connect(ada, 0), await scene.connect(ada, 1)]
  for (let round = 0; round < 20; round++) {
    const body = text(id, `round ${round}`, { clientMessageId: randomUUID() })
    const [first, second, third] = await Promise.all([
      ...sockets.map((socket) => socket.sure('message:send', body).then(({ message }) => message as Message)),
      scene.http(ada).sure<Message>('POST', '/messages', body),
    ])
    expect(second?.id).toBe(first?.id)
    expect(third?.id).toBe(first?.id)
    expect(first?.seq).toBe(round + 1)
  }
  const mismatch = await sockets[0]?.ask('message:send', text(id, 'one', { clientMessageId: 'same' }))
  expect(mismatch?.ok).toBe(true)
  const other = await sockets[1]?.ask('message:send', text(id, 'two', { clientMessageId: 'same' }))
  expect(other).toMatchObject({ ok: false, error: { code: 'idempotency_mismatch' } })
})

test('a returning client joins with what it holds and misses neither messages nor changes', async () => {
  const { ada, bob } = scene.names('ada', 'bob')
  const id = await scene.conversation(ada, bob)
  const b = await scene.join(bob, id, 1)
  const send = async (content: string) =>
    (await scene.http(ada).sure<Message>('POST', '/messages', text(id, content))) satisfies Message
  const one = await send('one')
  await b.first('message:new', { seq: 1 })
  b.cut()
  await send('two')
  await scene.http(ada).once('DELETE', `/messages/${one.id}`)
  await scene.http(ada).sure('PUT', `/conversations/${id}`, { title: 'renamed' })
  const again = await scene.connect(bob, 0)
  const answer = await again.sure('conversation:join', { conversationId: id, afterSeq: 1, afterChangeSeq: 0 })
  expect(answer).toMatchObject({ lastSeq: 2, changeSeq: 2, hasMore: false, unread: 2, readSeq: 0 })
  expect(answer.messages).toMatchObject([{ seq: 2, content: 'two' }])
  expect(answer.changes).toMatchObject([
    { changeSeq: 1, kind: 'message.deleted', message: { id: one.id, content: '' } },
    { changeSeq: 2, kind: 'conversation.updated', conversation: { title: 'renamed' } },
  ])
  expect(answer.receipts).toHaveLength(2)
  await send('three')
  expect(await again.first('message:new')).toMatchObject({ seq: 3, prevSeq: 2 })
})

test('a long absence: the first hundred, and that there is more', async () => {
  const { ada } = scene.names('ada')
  const id = await scene.conversation(ada)
  const a = await scene.connect(ada)
  await Promise.all(Array.from({ length: 120 }, (_, n) => a.sure('message:send', text(id, `${n}`))))
  const answer = await a.sure('conversation:join', { conversationId: id, afterSeq: 0 })
  expect(answer).toMatchObject({ lastSeq: 120, hasMore: true })
  expect((answer.messages as Message[]).map(({ seq }) => seq)).toEqual(
    Array.from({ length: 100 }, (_, index) => index + 1),
  )
  const without = await a.sure('conversation:join', { conversationId: id })
  expect(without).toMatchObject({ lastSeq: 120, hasMore: false, messages: [], changes: [] })
})

test('after more than a hundred changes too: the first hundred, and that there is more', async () => {
  const { ada } = scene.names('ada')
  const id = await scene.conversation(ada)
  const a = await scene.connect(ada)
  const http = scene.http(ada)
  const total = 103
  const numbers = Array.from({ length: total }, (_, index) => index)
  const sent = await Promise.all(numbers.map((n) => a.sure('message:send', text(id, `${n}`))))
  await Promise.all(sent.map(({ message }) => http.sure('DELETE', `/messages/${message.id}`)))
  const join = (afterChangeSeq: number) =>
    a.sure('conversation:join', { conversationId: id, afterSeq: total, afterChangeSeq })
  const first = await join(0)
  expect(first).toMatchObject({ lastSeq: total, changeSeq: total, messages: [], hasMore: true })
  expect(first.changes.map(({ changeSeq }) => changeSeq)).toEqual(numbers.slice(1, 101))
  const rest = await http.sure<{ data: { changeSeq: number }[]; page: object }>(
    'GET',
    `/conversations/${id}/changes?after=100`,
  )
  expect(rest.data.map(({ changeSeq }) => changeSeq)).toEqual([101, 102, 103])
  expect(rest.page).toEqual({ hasMore: false, lastChangeSeq: total })
  expect(await join(3)).toMatchObject({ changeSeq: total, hasMore: false, changes: { length: 100 } })
  await http.sure('PUT', `/conversations/${id}`, { title: 'calm' })
  expect(await a.first('conversation:updated')).toMatchObject({ changeSeq: total + 1 })
})

test('a join says how far everybody has read, where at most a hundred take part', async () => {
  const { ada, bob, bot, late } = scene.names('ada', 'bob', 'bot', 'late')
  const crowd = Array.from({ length: 97 }, (_, n) => `${ada}-${n}`)
  const id = await scene.conversation(ada, bob, `agent:${bot}`, ...crowd)
  const a = await scene.connect(ada)
  for (const content of ['one', 'two', 'three']) await a.sure('message:send', text(id, content))
  await scene.http(bob).sure('POST', `/conversations/${id}/read`, { seq: 2 })
  const { receipts } = await a.sure('conversation:join', { conversationId: id })
  const receipt = (type: string, participantId: string, readSeq: number) => ({
    conversationId: id,
    participantType: type,
    participantId,
    userId: participantId,
    readSeq,
  })
  const ofOthers = receipts.filter(({ participantId }) => participantId !== ada)
  const expected = [
    receipt('user', bob, 2),
    receipt('agent', bot, 0),
    ...crowd.map((name) => receipt('user', name, 0)),
  ]
  expect(receipts).toHaveLength(100)
  expect(new Set(ofOthers)).toEqual(new Set(expected))
  await scene.http(ada).sure('POST', `/conversations/${id}/participants`, { type: 'user', id: late })
  expect(await a.sure('conversation:join', { conversationId: id })).toMatchObject({ receipts: [] })
  // Those that come about are told all the same.
  await scene.http(bob).sure('POST', `/conversations/${id}/read`, { seq: 3 })
  expect(await a.first('message:receipt', { readSeq: 3 })).toEqual(receipt('user', bob, 3))
})

test('deletes and renames reach the room, in rising changeSeq', async () => {
  const { ada, bob } = scene.names('ada', 'bob')
  const id = await scene.conversation(ada, bob)
  const listeners = [await scene.join(ada, id, 0), await scene.join(bob, id, 1)]
  const message = await scene.http(ada).sure<Message>('POST', '/messages', text(id, 'regretted'))
  await scene.http(ada).once('DELETE', `/messages/${message.id}`)
  await scene.http(ada).sure('PUT', `/conversations/${id}`, { title: 'calm', tags: ['x'] })
  for (const listener of listeners) {
    expect(await listener.first('message:deleted')).toMatchObject({
      id: message.id,
      content: '',
      changeSeq: 1,
    })
    const updated = await listener.first('conversation:updated')
    expect(updated).toMatchObject({ conversationId: id, changeSeq: 2, conversation: { title: 'calm' } })
    expect((updated.changed as string[]).sort()).toEqual(['tags', 'title'])
    expect(updated.conversation).not.toHaveProperty('me')
    expect(listener.heard.findIndex(({ event }) => event === 'message:deleted')).toBeGreaterThan(
      listener.heard.findIndex(({ event }) => event === 'message:new'),
    )
  }
})

test('a message too large for the stream arrives whole', async () => {
  const { ada, bob } = scene.names('ada', 'bob')
  const id = await scene.conversation(ada, bob)
  const b = await scene.join(bob, id, 1)
  const a = await scene.join(ada, id, 0)
  const content = 'ä'.repeat(30_000)
  await a.sure('message:send', text(id, content))
  await a.sure('message:send', text(id, 'small'))
  await b.first('message:new', { seq: 2 })
  expect(b.of('message:new')).toMatchObject([{ content }, { content: 'small' }])
})

test('bad input is told apart, stores nothing, and harms nobody', async () => {
  const { ada, bob } = scene.names('ada', 'bob')
  const id = await scene.conversation(ada)
  const a = await scene.join(ada, id)
  const cases: [event: string, payload: unknown, code: string][] = [
    ['message:send', undefined, 'validation_failed'],
    ['message:send', null, 'validation_failed'],
    ['message:send', 'text', 'validation_failed'],
    ['message:send', [], 'validation_failed'],
    ['message:send', { conversationId: id, role: 'user' }, 'validation_failed'],
    ['message:send', text(id, 'x', { unknown: 1 }), 'validation_failed'],
    ['message:send', text(id, 'x', { seq: 7 }), 'validation_failed'],
    ['message:send', text('nonsense', 'x'), 'validation_failed'],
    ['message:send', text(id, 'x'.repeat(65 * 1_024)), 'validation_failed'],
    ['message:send', text(id, 'x', { content: Buffer.from('binary') }), 'validation_failed'],
    ['message:send', text(id, 'x', { metadata: { $where: 'x' } }), 'validation_failed'],
    ['message:send', text(id, 'x', { role: 'assistant' }), 'role_not_allowed'],
    ['message:send', text(id, 'x', { attachments: ['http://10.0.0.1/'] }), 'invalid_attachment'],
    ['message:send', text('0123456789abcdef01234567', 'x'), 'not_found'],
    ['conversation:join', { conversationId: '0123456789abcdef01234567' }, 'not_found'],
    ['conversation:join', { conversationId: id, afterSeq: -1 }, 'validation_failed'],
    ['conversation:join', {}, 'validation_failed'],
    ['auth:refresh', { token: 'nonsense' }, 'unauthenticated'],
    ['auth:refresh', { token: scene.token(bob) }, 'forbidden'],
    ['no:such:event', {}, 'validation_failed'],
    ['__proto__', {}, 'validation_failed'],
  ]
  for (const [event, payload, code] of cases) {
    const answer = await a.ask(event, payload)
    expect(answer, `${event} ${JSON.stringify(payload)?.slice(0, 100)}`).toMatchObject({
      ok: false,
      error: { code, instance: expect.any(String), requestId: expect.any(String) },
    })
  }
  a.socket.emit('message:send', text(id, 'x', { role: 'assistant', clientMessageId: 'mine' }))
  expect(await a.first('message:error')).toMatchObject({
    code: 'role_not_allowed',
    event: 'message:send',
    clientMessageId: 'mine',
  })
  const { data } = await scene.http(ada).sure<{ data: unknown[] }>('GET', `/messages/conversation/${id}`)
  expect(data).toEqual([])
  await a.sure('message:send', text(id, 'still here'))
})
