import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { until } from '../support/until.ts'
import { openScene, type Scene } from './scene.ts'

let scene: Scene
beforeAll(async () => {
  // A hundred sockets of one person are more than a person may open in a minute.
  scene = await openScene({ apis: 1, serviceEnv: { gateway: { RATE_LIMIT_CONNECT: '0' } } })
})
afterEach(() => scene.hangUp())
afterAll(() => scene.close())

test('typing reaches everybody in the room but the typist, at once, and once in 3 s', async () => {
  const { ada, bob, cyd } = scene.names('ada', 'bob', 'cyd')
  const id = await scene.conversation(ada, bob, cyd)
  const a = await scene.join(ada, id, 0)
  const phone = await scene.join(ada, id, 1)
  const b = await scene.join(bob, id, 1)
  const c = await scene.join(cyd, id, 0)
  for (let i = 0; i < 5; i++) await a.sure('message:typing', { conversationId: id, isTyping: true })
  const told = {
    conversationId: id,
    participantType: 'user',
    participantId: ada,
    userId: ada,
    isTyping: true,
  }
  expect(await b.first('user:typing')).toEqual(told)
  expect(await c.first('user:typing')).toEqual(told)
  await a.sure('message:typing', { conversationId: id, isTyping: false })
  await b.first('user:typing', { isTyping: false })
  await c.first('user:typing', { isTyping: false })
  expect([b.of('user:typing').length, c.of('user:typing').length]).toEqual([2, 2])
  expect([...a.of('user:typing'), ...phone.of('user:typing')]).toEqual([])
})

test('a typist who goes is no longer typing; who is not in the room can not be', async () => {
  const { ada, bob, eve } = scene.names('ada', 'bob', 'eve')
  const id = await scene.conversation(ada, bob)
  const a = await scene.join(ada, id, 0)
  const b = await scene.join(bob, id, 1)
  await a.sure('message:typing', { conversationId: id, isTyping: true })
  await b.first('user:typing', { isTyping: true })
  a.cut()
  await b.first('user:typing', { isTyping: false })
  const e = await scene.connect(eve)
  expect(await e.ask('message:typing', { conversationId: id, isTyping: true })).toMatchObject({
    ok: false,
    error: { code: 'forbidden' },
  })
})

test('read positions move forward only, reach the room, and take a message for its number', async () => {
  const { ada, bob } = scene.names('ada', 'bob')
  const id = await scene.conversation(ada, bob)
  const a = await scene.join(ada, id, 0)
  const b = await scene.join(bob, id, 1)
  const sent: { id: string; seq: number }[] = []
  for (const content of ['one', 'two', 'three']) {
    const { message } = await a.sure('message:send', { conversationId: id, role: 'user', content })
    sent.push(message)
  }
  expect(await b.sure('message:read', { conversationId: id, messageId: sent[1]?.id ?? '' })).toMatchObject({
    readSeq: 2,
    unread: 1,
  })
  await a.first('message:receipt', { participantId: bob, readSeq: 2 })
  expect(await b.sure('message:read', { conversationId: id, seq: 1 })).toMatchObject({ readSeq: 2 })
  expect(await b.sure('message:read', { conversationId: id, seq: 99 })).toMatchObject({
    readSeq: 3,
    unread: 0,
  })
  await a.first('message:receipt', { participantId: bob, readSeq: 3 })
  const other = await scene.conversation(bob, ada)
  expect(await b.ask('message:read', { conversationId: other, messageId: sent[0]?.id })).toMatchObject({
    ok: false,
    error: { code: 'not_found' },
  })
})

test('reads without having joined, by socket or by REST, are shown on every gateway', async () => {
  const { ada, bob } = scene.names('ada', 'bob')
  const id = await scene.conversation(ada, bob)
  const rooms = [await scene.join(ada, id, 0), await scene.join(ada, id, 1)]
  for (const content of ['one', 'two']) {
    await rooms[0]?.sure('message:send', { conversationId: id, role: 'user', content })
  }
  const b = await scene.connect(bob, 1)
  expect(await b.sure('message:read', { conversationId: id, seq: 1 })).toEqual({ readSeq: 1, unread: 1 })
  await scene.http(bob).sure('POST', `/conversations/${id}/read`, { seq: 2 })
  for (const room of rooms) {
    await room.first('message:receipt', { participantId: bob, readSeq: 2 })
    const seen = room.of('message:receipt', { participantId: bob })
    expect(seen.map(({ readSeq }) => readSeq)).toEqual([1, 2])
  }
  expect(b.of('message:receipt')).toEqual([])
})

test('a room of more than 100 sockets is told once a second who came, went and read', async () => {
  const { ada, bob } = scene.names('ada', 'bob')
  const id = await scene.conversation(ada, bob)
  const a = await scene.join(ada, id, 0)
  const crowd = await Promise.all(Array.from({ length: 101 }, () => scene.connect(ada, 0)))
  await Promise.all(crowd.map((one) => one.sure('conversation:join', { conversationId: id })))
  await a.sure('message:send', { conversationId: id, role: 'user', content: 'hello' })
  const b = await scene.join(bob, id, 1)
  await b.sure('message:read', { conversationId: id, seq: 1 })
  const merged = await until(() => {
    const all = a.of('room:aggregate', { conversationId: id })
    const has = (name: 'joined' | 'receipts' | 'online') =>
      all.some((one) => JSON.stringify(one[name]).includes(bob))
    return has('joined') && has('receipts') && has('online') ? all : null
  })
  expect(merged.length).toBeLessThanOrEqual(4)
  await delay(100)
  expect(a.of('user:joined', { userId: bob })).toEqual([])
  expect(a.of('message:receipt', { participantId: bob })).toEqual([])
})
