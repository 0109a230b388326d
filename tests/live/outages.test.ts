import asyncapi from '@asyncapi/specs'
import { startRedis, throwAwayFolder } from '@parley/devstack'
import { Ajv, type AnySchema } from 'ajv'
import formats from 'ajv-formats'
import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, expect, inject, test } from 'vitest'
import { listen, streamed } from '../support/listener.ts'
import { openSocket } from '../support/socket.ts'
import { until } from '../support/until.ts'
import { openScene, type Scene } from './scene.ts'

let scene: Scene
beforeAll(async () => {
  scene = await openScene({
    env: { RATE_LIMIT_EVENTS: '5', RATE_LIMIT_CONNECT: '0', RATE_LIMIT_SEND: '0' },
  })
})
afterEach(() => scene.hangUp())
afterAll(() => scene.close())

const health = async (gateway: number, { stack } = scene) => {
  const response = await fetch(`${stack.gatewayUrls[gateway]}/health/ready`)
  const { degraded } = (await response.json()) as { degraded?: string[] }
  return { status: response.status, degraded }
}
/** What a gateway's metrics say of the streams, and of the Redis that gateways share. */
const connections = async (gateway: number, { stack } = scene) => {
  const text = await (await fetch(`${stack.gatewayUrls[gateway]}/metrics`)).text()
  const gauge = (name: string) => Number(new RegExp(`^${name}{.*} (\\d+)$`, 'm').exec(text)?.[1])
  return [gauge('gateway_streams_connected'), gauge('gateway_redis_connected')]
}
const send = (conversationId: string, content: string) => ({ conversationId, role: 'user' as const, content })

test('without Redis messages still travel, gateways start, and all is well when it is back', async () => {
  const { ada, bob, bot } = scene.names('ada', 'bob', 'bot')
  const id = await scene.conversation(ada, bob, `agent:${bot}`)
  const a = await scene.join(ada, id, 0)
  const b = await scene.join(bob, id, 1)
  await a.sure('message:send', send(id, 'before'))
  await b.first('message:new', { seq: 1 })

  await scene.stack.stop('redis-0')
  await until(async () => (await health(1)).degraded?.includes('redis'))
  expect(await health(1)).toEqual({ status: 200, degraded: ['redis'] })
  await a.sure('message:send', send(id, 'during'))
  await b.first('message:new', { seq: 2 }, 5_000)

  await scene.stack.restart('gateway-0')
  const again = await scene.connect(ada, 0)
  const joined = await again.sure('conversation:join', { conversationId: id, afterSeq: 2 })
  expect(joined).toMatchObject({ lastSeq: 2, hasMore: false, online: { users: [ada] } })
  await again.sure('message:send', send(id, 'from a gateway that never saw Redis'))
  await b.first('message:new', { seq: 3 }, 5_000)
  const agent = await scene.connect(`agent:${bot}`, 0)
  const start = { op: 'start', conversationId: id, clientMessageId: 'answer' } as const
  const { messageId = '' } = await agent.sure('message:stream', start)
  agent.socket.emit('message:stream', { op: 'delta', messageId, index: 0, text: 'Hello, ' })
  await until(() => streamed(again, messageId).text === 'Hello, ')
  await b.first('message:new', { seq: 4 }, 5_000)

  await scene.stack.start('redis-0')
  await until(
    async () => (await health(0)).degraded?.length === 0 && (await health(1)).degraded?.length === 0,
  )
  agent.socket.emit('message:stream', { op: 'delta', messageId, index: 7, text: 'world' })
  await Promise.all([again, b].map((one) => until(() => streamed(one, messageId).text === 'Hello, world')))
  for (const [typist, other, userId] of [
    [again, b, ada],
    [b, again, bob],
  ] as const) {
    await typist.sure('message:typing', { conversationId: id, isTyping: true })
    await other.first('user:typing', { userId, isTyping: true })
  }
  await until(async () => {
    const { users } = await b.sure('conversation:online', { conversationId: id })
    return users.includes(ada)
  })
  await b.sure('message:send', send(id, 'after'))
  await Promise.all([again, b].map((listener) => listener.first('message:new', { seq: 5 })))
  expect(b.of('message:new').map(({ seq }) => seq)).toEqual([1, 2, 3, 4, 5])
})

test('without Redis who is removed, whose tokens are revoked, and whose conversation is deleted is out all the same', async () => {
  const { ada, bob, cyd } = scene.names('ada', 'bob', 'cyd')
  const [left, gone] = [await scene.conversation(ada, bob, cyd), await scene.conversation(ada, bob)]
  const b = await scene.join(bob, left, 1)
  await b.sure('conversation:join', { conversationId: gone })
  const c = await scene.join(cyd, left, 1)
  await scene.stack.stop('redis-0')
  try {
    await until(async () => (await health(1)).degraded?.includes('redis'))
    await scene.http(ada).once('DELETE', `/conversations/${left}/participants/user/${bob}`)
    await scene.http(ada).once('DELETE', `/conversations/${gone}`)
    await scene.http('boss', ['admin']).once('POST', '/auth/revoke', { type: 'user', id: cyd })
    await b.first('conversation:removed', { conversationId: left, reason: 'removed' }, 3_000)
    await b.first('conversation:removed', { conversationId: gone, reason: 'deleted' }, 3_000)
    await c.first('conversation:removed', { conversationId: left, reason: 'revoked' }, 3_000)
    await until(() => !c.socket.connected)
    expect(b.socket.connected).toBe(true)
  } finally {
    await scene.stack.start('redis-0')
  }
})

test('a wiped Redis loses nobody a message', async () => {
  const { ada, bob } = scene.names('ada', 'bob')
  const id = await scene.conversation(ada, bob)
  const a = await scene.join(ada, id, 0)
  const b = await scene.join(bob, id, 1)
  for (let seq = 1; seq <= 3; seq++) {
    await scene.stack.kill('redis-0')
    await a.sure('message:send', send(id, `${seq}`))
    await scene.stack.start('redis-0')
    await b.first('message:new', { seq })
  }
  expect(b.of('message:new').map(({ seq }) => seq)).toEqual([1, 2, 3])
})

test('additions and read positions from while a gateway stood still and Redis was wiped are told, and nothing else', async () => {
  const { ada, bob, cyd } = scene.names('ada', 'bob', 'cyd')
  const [id, quiet] = [await scene.conversation(ada), await scene.conversation(ada, bob, cyd)]
  const a = await scene.join(ada, quiet, 1)
  for (const content of ['one', 'two']) await a.sure('message:send', send(quiet, content))
  await a.first('message:new', { seq: 2 })
  const b = await scene.connect(bob, 1)
  const namesake = await listen(scene.stack.gatewayUrls[1] ?? '', scene.token(bob, [], 'elsewhere'))
  const redis = new Redis(scene.stack.redisUrl)
  scene.stack.pause('gateway-1')
  try {
    // What the gateway was waiting for as it stopped reaches it still; what comes after that does not.
    await scene.http(ada).sure('POST', '/messages', send(id, 'nobody hears'))
    await scene.http(ada).sure('POST', `/conversations/${id}/participants`, { type: 'user', id: bob })
    for (const seq of [1, 2]) await scene.http(cyd).sure('POST', `/conversations/${quiet}/read`, { seq })
    await until(async () => {
      const streams = await Promise.all([0, 1, 2, 3].map((n) => redis.xrange(`events:{${n}}`, '-', '+')))
      const entries = streams.flat().map(([, fields]) => fields.join(' '))
      const has = (...words: string[]) => entries.some((entry) => words.every((word) => entry.includes(word)))
      return has('participant.added', id) && has('receipt.read', quiet, '"readSeq":2')
    })
    await redis.flushall()
  } finally {
    scene.stack.resume('gateway-1')
    redis.disconnect()
  }
  // The gateway asks back for ten seconds, so that it may tell of the other one too.
  await until(() => b.of('conversation:added').some(({ conversation }) => conversation.id === id), {
    timeoutMs: 5_000,
  })
  expect(namesake.of('conversation:added')).toEqual([])
  expect(await a.first('message:receipt', { readSeq: 2 })).toMatchObject({ participantId: cyd })
  expect(a.of('message:receipt', { participantId: bob })).toEqual([])
  namesake.close()
})

test('of two Redises each may go by itself: gateways say so, go on as they can, and need no restart', async () => {
  const folder = await throwAwayFolder()
  const streams = await startRedis({ dataDir: folder.path })
  const apart = await openScene({
    apis: 1,
    mongodbUri: inject('mongodbUri'),
    env: { REDIS_STREAMS_URL: streams.url },
  })
  try {
    const id = await apart.conversation('ada', 'bob')
    const a = await apart.join('ada', id, 0)
    const b = await apart.join('bob', id, 1)
    let seq = 0
    const talk = async (timeoutMs: number) => {
      await a.sure('message:send', send(id, 'hello'))
      await b.first('message:new', { seq: ++seq }, timeoutMs)
    }
    const whoIsHere = async () =>
      (await b.sure('conversation:online', { conversationId: id })).users.toSorted()
    const is = (streamed: number, shared: number) =>
      until(async () => {
        const now = await Promise.all([0, 1].map((gateway) => connections(gateway, apart)))
        return now.every((one) => one[0] === streamed && one[1] === shared)
      })
    const degraded = { status: 200, degraded: ['redis'] }
    await is(1, 1)
    expect(await health(0, apart)).toEqual({ status: 200, degraded: [] })

    await apart.stack.kill('redis-0')
    await is(1, 0)
    expect(await health(0, apart)).toEqual(degraded)
    await talk(1_000)
    // As the room was last told.
    expect(await whoIsHere()).toEqual(['ada', 'bob'])
    await apart.stack.start('redis-0')
    await is(1, 1)
    expect(await health(0, apart)).toEqual({ status: 200, degraded: [] })
    await until(async () => (await whoIsHere()).length === 2)

    await streams.process.kill()
    await is(0, 1)
    expect(await health(0, apart)).toEqual(degraded)
    await talk(5_000)
    expect(await whoIsHere()).toEqual(['ada', 'bob'])
    await a.sure('message:typing', { conversationId: id, isTyping: true })
    await b.first('user:typing')
    await streams.process.start()
    await is(1, 1)
    await talk(1_000)
    expect(b.of('message:new').map((message) => message.seq)).toEqual([1, 2, 3])
  } finally {
    await apart.close()
    await streams.process.destroy()
    await folder.remove()
  }
})

test('a gateway that ends lets nobody in, finishes what it was asked, and sends one after the other away', async () => {
  const { ada } = scene.names('ada')
  const id = await scene.conversation(ada)
  const first = await scene.join(ada, id, 1)
  const listeners = [first]
  while (listeners.length < 50) listeners.push(await scene.connect(ada, 1))
  const apis = ['api-0', 'api-1']
  for (const name of apis) scene.stack.pause(name)
  try {
    const answers = [1, 2, 3].map((n) => first.sure('message:send', send(id, `${n}`)))
    // Answered without the api, and after those have come in.
    await first.sure('conversation:leave', { conversationId: 'f'.repeat(24) })
    const ended = scene.stack.stop('gateway-1')
    const drained = await Promise.all(listeners.map((listener) => listener.first('server:draining')))
    const times = drained.map(({ reconnectAfterMs }) => reconnectAfterMs)
    expect(times).toEqual([...new Set(times)].sort((a, b) => a - b))
    expect((await health(1)).status).toBe(503)
    const refused = openSocket(scene.stack.gatewayUrls[1] ?? '', scene.token(ada))
    await expect(refused).rejects.toMatchObject({
      data: { code: 'overloaded', reconnectAfterMs: expect.any(Number) },
    })
    for (const name of apis) scene.stack.resume(name)
    expect((await Promise.all(answers)).map(({ message }) => message.content)).toEqual(['1', '2', '3'])
    expect(await ended).toEqual({ code: 0, signal: null })
  } finally {
    for (const name of apis) scene.stack.resume(name)
  }
  await until(() => listeners.every(({ socket }) => !socket.connected))
  await scene.stack.start('gateway-1')
})

test('a client that sends too many events is told so, and nobody else is', async () => {
  const { ada, bob } = scene.names('ada', 'bob')
  const id = await scene.conversation(ada, bob)
  const a = await scene.join(ada, id)
  const b = await scene.join(bob, id)
  const answers = await Promise.all(
    Array.from({ length: 100 }, () => a.ask('conversation:leave', { conversationId: id })),
  )
  const codes = new Set(answers.map(({ ok, error }) => (ok ? 'ok' : error?.code)))
  expect(codes).toEqual(new Set(['ok', 'rate_limited']))
  await b.sure('message:send', send(id, 'unharmed'))
})

test('a packet over a megabyte closes that socket and no other', async () => {
  const { ada } = scene.names('ada')
  const id = await scene.conversation(ada)
  const b = await scene.join(ada, id)
  const socket = await openSocket(scene.stack.gatewayUrls[0] ?? '', scene.token(ada))
  socket.emit('message:send', send(id, 'x'.repeat(1_100_000)))
  await until(() => !socket.connected)
  await b.sure('message:send', send(id, 'still here'))
  expect(await b.first('message:new')).toMatchObject({ seq: 1 })
})

test('the sockets are described where they are, as AsyncAPI has it', async () => {
  const response = await fetch(`${scene.stack.gatewayUrls[0]}/asyncapi.json`)
  const document = (await response.json()) as {
    asyncapi: string
    channels: Record<string, { address: string }>
  }
  expect(document.asyncapi).toBe('3.0.0')
  // Its schema brings the one of JSON Schema along.
  const ajv = new Ajv({ strict: false, meta: false, validateSchema: false })
  formats.default(ajv)
  const validate = ajv.compile(asyncapi.schemas['3.0.0'] as AnySchema)
  validate(document)
  expect(validate.errors ?? []).toEqual([])
  const addresses = Object.values(document.channels).map(({ address }) => address)
  expect(addresses).toEqual(expect.arrayContaining(['message:send', 'message:new', 'resync']))
})
