import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { listen } from '../support/listener.ts'
import { openSocket } from '../support/socket.ts'
import { until } from '../support/until.ts'
import { openScene, type Scene } from './scene.ts'

let scene: Scene
beforeAll(async () => {
  scene = await openScene({ env: { CORS_ORIGINS: 'https://*.example.com', NODE_ENV: 'test' } })
})
afterEach(() => scene.hangUp())
afterAll(() => scene.close())

const refusal = (token: string, options: object = {}) =>
  openSocket(scene.stack.gatewayUrls[0] ?? '', token, options).then(
    (socket) => {
      socket.disconnect()
      return 'let in'
    },
    (error: Error & { data?: { code: string } }) => error.data?.code ?? error.message,
  )

test('only sound tokens get in', async () => {
  const good = scene.token('ada')
  const [head, body, signature] = good.split('.')
  const none = `${Buffer.from('{"alg":"none","typ":"JWT"}').toString('base64url')}.${body}.`
  expect(await refusal(good)).toBe('let in')
  expect(await refusal('')).toBe('unauthenticated')
  expect(await refusal(`${head}.${body}.${signature?.split('').reverse().join('')}`)).toBe('unauthenticated')
  expect(await refusal(none)).toBe('unauthenticated')
  expect(await refusal(scene.stack.token({ sub: 'ada', orgId: 'live', expiresIn: -1 }))).toBe('token_expired')
})

test('a foreign origin stays out; a listed one, and none, get in', async () => {
  const from = (origin: string) => refusal(scene.token('ada'), { extraHeaders: { origin } })
  expect(await from('https://evil.example.org')).toBe('origin_not_allowed')
  expect(await from('https://app.example.com')).toBe('let in')
  expect(await from('http://localhost:5173')).toBe('let in')
  expect(await from('https://app.example.com.evil.org')).toBe('origin_not_allowed')
})

test('a page of a listed origin may ask who is online; another gets no leave to read the answer', async () => {
  const allowed = async (origin: string) => {
    const headers = { origin, 'access-control-request-method': 'GET' }
    const url = `${scene.stack.gatewayUrls[0]}/presence/user/ada`
    return (await fetch(url, { method: 'OPTIONS', headers })).headers.get('access-control-allow-origin')
  }
  expect(await allowed('https://app.example.com')).toBe('https://app.example.com')
  expect(await allowed('https://evil.example.org')).toBeNull()
})

test('a question who is online that asks more than there is to answer is refused, as by the api', async () => {
  const headers = { authorization: `Bearer ${scene.token('ada')}` }
  const ask = (query: string) => fetch(`${scene.stack.gatewayUrls[0]}/presence/user/ada${query}`, { headers })
  expect((await ask('')).status).toBe(200)
  expect((await ask('?colour=red')).status).toBe(422)
})

test('another namespace, the main one too, lets nobody in', async () => {
  for (const namespace of ['/', '/admin']) {
    const code = await refusal(scene.token('ada'), { namespace })
    expect(code).toBe('Invalid namespace')
  }
})

test('polling works as websocket does', async () => {
  const { ada } = scene.names('ada')
  const id = await scene.conversation(ada)
  const socket = await openSocket(scene.stack.gatewayUrls[0] ?? '', scene.token(ada), {
    transports: ['polling'],
  })
  const heard: unknown[] = []
  socket.on('message:new', (message: unknown) => heard.push(message))
  await socket.emitWithAck('conversation:join', { conversationId: id })
  await socket.emitWithAck('message:send', { conversationId: id, role: 'user', content: 'slowly' })
  await until(() => heard.length === 1)
  expect(heard).toMatchObject([{ content: 'slowly', prevSeq: 0 }])
  socket.disconnect()
})

test("a stranger, and another org's admin, find nothing", async () => {
  const { ada, eve } = scene.names('ada', 'eve')
  const id = await scene.conversation(ada)
  const e = await scene.connect(eve)
  const admin = await openSocket(
    scene.stack.gatewayUrls[0] ?? '',
    scene.stack.token({ sub: 'boss', orgId: 'elsewhere', roles: ['admin'] }),
  )
  const missing = { conversationId: 'f'.repeat(24) }
  for (const ask of [e.ask, (event: string, payload: unknown) => admin.emitWithAck(event, payload)]) {
    const real = await ask('conversation:join', { conversationId: id })
    const unreal = await ask('conversation:join', missing)
    expect({ ...real.error, requestId: '' }).toEqual({ ...unreal.error, requestId: '' })
    expect(real).toMatchObject({ ok: false, error: { code: 'not_found' } })
  }
  await scene.http(ada).sure('POST', '/messages', { conversationId: id, role: 'user', content: 'private' })
  const boss = await openSocket(scene.stack.gatewayUrls[0] ?? '', scene.token('boss', ['admin']))
  const joined = await boss.emitWithAck('conversation:join', { conversationId: id })
  expect(joined).toMatchObject({ ok: true, lastSeq: 1, unread: 0 })
  expect(e.heard).toEqual([])
  admin.disconnect()
  boss.disconnect()
})

test('people added are told; people removed are out within a second, on every gateway', async () => {
  const { ada, bob } = scene.names('ada', 'bob')
  const id = await scene.conversation(ada)
  const a = await scene.join(ada, id, 0)
  const devices = [await scene.connect(bob, 0), await scene.connect(bob, 1)]
  await scene.http(ada).sure('POST', `/conversations/${id}/participants`, { type: 'user', id: bob })
  for (const device of devices) {
    expect(await device.first('conversation:added')).toMatchObject({ conversation: { id } })
    await device.sure('conversation:join', { conversationId: id })
  }
  expect(await a.first('conversation:updated')).toMatchObject({ changed: ['participants'], changeSeq: 1 })
  await scene.http(ada).once('DELETE', `/conversations/${id}/participants/user/${bob}`)
  for (const device of devices) {
    const removed = { conversationId: id, reason: 'removed' }
    expect(await device.first('conversation:removed', {}, 1_000)).toEqual(removed)
  }
  await a.sure('message:send', { conversationId: id, role: 'user', content: 'without bob' })
  await a.first('message:new')
  for (const device of devices) {
    expect(device.of('message:new')).toEqual([])
    const send = await device.ask('message:send', { conversationId: id, role: 'user', content: 'let me in' })
    expect(send).toMatchObject({ ok: false, error: { code: 'not_found' } })
  }
})

test('participants are told of a conversation too large for its events, or with too many people to name', async () => {
  const { ada, bob } = scene.names('ada', 'bob')
  const b = await scene.connect(bob, 1)
  const added = (id: string, times: number) =>
    until(
      () => b.of('conversation:added').filter(({ conversation }) => conversation.id === id).length === times,
    )
  const participants = [{ type: 'user', id: bob }]
  const large = { participants, metadata: { note: 'x'.repeat(8_000) } }
  const many = Array.from({ length: 60 }, (_, n) => ({ type: 'user', id: `${bob}-${n}` }))
  for (const wanted of [large, { participants: [...participants, ...many] }]) {
    const { id } = await scene.http(ada).sure<{ id: string }>('POST', '/conversations', wanted)
    await added(id, 1)
    const at = `/conversations/${id}/participants`
    await scene.http(ada).once('DELETE', `${at}/user/${bob}`)
    await b.first('conversation:removed', { conversationId: id, reason: 'removed' })
    await scene.http(ada).sure('POST', at, { type: 'user', id: bob })
    await added(id, 2)
    await scene.http(ada).once('DELETE', `/conversations/${id}`)
    await b.first('conversation:removed', { conversationId: id, reason: 'deleted' })
  }
})

test('somebody removed without ever having joined is told on all their sockets, and nobody else is', async () => {
  const { ada, bob, cyd } = scene.names('ada', 'bob', 'cyd')
  const id = await scene.conversation(ada, bob, cyd)
  const devices = [await scene.connect(bob, 0), await scene.connect(bob, 1)]
  const others = [await scene.connect(cyd, 0), await scene.join(ada, id, 1)]
  await scene.http(ada).once('DELETE', `/conversations/${id}/participants/user/${bob}`)
  for (const device of devices) {
    const removed = { conversationId: id, reason: 'removed' }
    expect(await device.first('conversation:removed', {}, 1_000)).toEqual(removed)
  }
  await scene.http(ada).sure('POST', '/messages', { conversationId: id, role: 'user', content: 'gone' })
  await others[0]?.first('conversation:activity')
  await others[1]?.first('message:new')
  for (const other of others) expect(other.of('conversation:removed')).toEqual([])
  for (const device of devices) {
    expect(device.of('conversation:removed')).toHaveLength(1)
    expect(device.of('conversation:activity')).toEqual([])
  }
})

test('a deleted conversation lets everybody go', async () => {
  const { ada, bob } = scene.names('ada', 'bob')
  const id = await scene.conversation(ada, bob)
  const a = await scene.join(ada, id, 0)
  const b = await scene.connect(bob, 1)
  await scene.http(ada).once('DELETE', `/conversations/${id}`)
  const deleted = { conversationId: id, reason: 'deleted' }
  expect(await a.first('conversation:removed', {}, 1_000)).toEqual(deleted)
  expect(await b.first('conversation:removed', {}, 1_000)).toEqual(deleted)
  expect(await a.ask('conversation:join', { conversationId: id })).toMatchObject({ ok: false })
})

test('a revoked token ends its sockets within a second, and opens none', async () => {
  const { ada, bob } = scene.names('ada', 'bob')
  const id = await scene.conversation(ada, bob)
  const sockets = [await scene.join(bob, id, 0), await scene.join(bob, id, 1)]
  const token = scene.token(bob)
  await scene.http('boss', ['admin']).once('POST', '/auth/revoke', { type: 'user', id: bob })
  for (const { socket, first } of sockets) {
    await until(() => !socket.connected, { timeoutMs: 1_000 })
    expect(await first('conversation:removed')).toEqual({ conversationId: id, reason: 'revoked' })
  }
  expect(await refusal(token)).toBe('unauthenticated')
})

test('a token about to end is announced, and a newer one keeps the socket', async () => {
  const { ada } = scene.names('ada')
  const short = scene.stack.token({ sub: ada, orgId: 'live', expiresIn: 30 })
  const expiring = Promise.withResolvers<unknown>()
  const socket = await openSocket(scene.stack.gatewayUrls[0] ?? '', short, {
    prepare: (opened) => opened.once('auth:expiring', expiring.resolve),
  })
  expect(await expiring.promise).toEqual({ expiresAt: expect.stringMatching(/Z$/) })
  const answer = await socket.emitWithAck('auth:refresh', { token: scene.token(ada) })
  expect(answer.ok).toBe(true)
  expect(Date.parse(answer.expiresAt)).toBeGreaterThan(Date.now() + 3_000_000)
  socket.disconnect()
})

test('a newer token of another type, org or person is refused, and the socket goes on with the one it has', async () => {
  const { ada, bob } = scene.names('ada', 'bob')
  const id = await scene.conversation(ada)
  const a = await scene.join(ada, id)
  for (const token of [scene.token(`agent:${ada}`), scene.token(ada, [], 'elsewhere'), scene.token(bob)]) {
    expect(await a.ask('auth:refresh', { token })).toMatchObject({ ok: false, error: { code: 'forbidden' } })
  }
  await a.sure('message:send', { conversationId: id, role: 'user', content: 'still ada' })
})

test('an admin whose newer token has no such role is out of the rooms that it opened, and of no other', async () => {
  const { ada, boss } = scene.names('ada', 'boss')
  const [theirs, own] = [await scene.conversation(ada), await scene.conversation(boss)]
  const admin = await listen(scene.stack.gatewayUrls[1] ?? '', scene.token(boss, ['admin']))
  for (const conversationId of [theirs, own]) await admin.sure('conversation:join', { conversationId })
  await admin.sure('auth:refresh', { token: scene.token(boss) })
  const removed = { conversationId: theirs, reason: 'removed' }
  expect(await admin.first('conversation:removed', {}, 1_000)).toEqual(removed)
  const send = (conversationId: string) => ({ conversationId, role: 'user', content: 'after' })
  await scene.http(ada).sure('POST', '/messages', send(theirs))
  await scene.http(boss).sure('POST', '/messages', send(own))
  await admin.first('message:new', { conversationId: own })
  expect(admin.of('message:new', { conversationId: theirs })).toEqual([])
  expect(admin.of('conversation:removed')).toHaveLength(1)
  for (const event of ['conversation:join', 'conversation:online']) {
    const refused = { ok: false, error: { code: 'not_found' } }
    expect(await admin.ask(event, { conversationId: theirs })).toMatchObject(refused)
  }
  admin.close()
})

test('an agent on connecting has its one auto conversation, joined, and knows its others', async () => {
  const { ada, bot } = scene.names('ada', 'bot')
  const other = await scene.conversation(ada, `agent:${bot}`)
  const agents = await Promise.all([0, 1, 0, 1].map((gateway) => scene.connect(`agent:${bot}`, gateway)))
  const ready = await Promise.all(agents.map((agent) => agent.first('conversation:ready')))
  const ids = new Set(ready.map(({ conversation }) => conversation.id))
  expect(ids.size).toBe(1)
  for (const { active } of ready) expect(active).toEqual([{ id: other, lastSeq: 0 }])
  const [id = ''] = ids
  await agents[0]?.sure('message:send', { conversationId: id, role: 'assistant', content: 'to myself' })
  for (const agent of agents) expect(await agent.first('message:new')).toMatchObject({ content: 'to myself' })
})
