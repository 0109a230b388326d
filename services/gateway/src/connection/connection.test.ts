import { once } from 'node:events'
import { LIMITS } from '@parley/contract'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { WebSocket } from 'ws'
import { createFakeApi, createFakeConversation } from '../testing/fake-api.ts'
import { startTestGateway } from '../testing/gateway.ts'
import { createExpiry } from './expiry.ts'

const ADA = { type: 'user', id: 'ada' } as const
const fake = createFakeApi()
let gateway: Awaited<ReturnType<typeof startTestGateway>>
beforeAll(async () => {
  gateway = await startTestGateway(fake.api, { RATE_LIMIT_CONNECT: '3', RATE_LIMIT_EVENTS: '0' })
})
afterAll(() => gateway.close())

const engine = () => `${gateway.url.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket`

/** A connection without a socket so far. */
async function openWebSocket(): Promise<WebSocket> {
  const ws = new WebSocket(engine())
  await once(ws, 'message')
  return ws
}

describe('a connection', () => {
  it('is refused to a person who connects too often, with a time to come back, and to nobody else', async () => {
    const token = gateway.token('eager', 'acme')
    for (let n = 0; n < 3; n++) (await gateway.connect(token)).disconnect()
    await expect(gateway.tryConnect(token)).rejects.toMatchObject({
      data: { code: 'overloaded', reconnectAfterMs: expect.any(Number) },
    })
    const other = await gateway.connect(gateway.token('patient', 'acme'))
    expect(other.connected).toBe(true)
  })

  it('that keeps trying to connect keeps nobody else out', async () => {
    const clock = vi.spyOn(performance, 'now').mockReturnValue(performance.now())
    const insistent = await openWebSocket()
    const closed = once(insistent, 'close')
    let answers = 0
    const answered = new Promise<void>((resolve) => {
      insistent.on('message', () => {
        if (++answers === 1_100) resolve()
      })
    })
    for (let n = 0; n < 1_100; n++) insistent.send('40/chat,{"token":"none"}')
    await Promise.race([closed, answered])
    const other = await gateway.connect(gateway.token('meanwhile', 'acme'))
    expect(other.connected).toBe(true)
    clock.mockRestore()
    await closed
  })

  it.for([
    ['tries to connect a fourth time', ['40/a,', '40/b,', '40/c,', '40/d,']],
    ['asks for a namespace with a name as long as a packet may be', [`40/${'x'.repeat(1_000_000)},`]],
    ['sends long attachments', ['453-/chat,["x"]', Buffer.alloc(40_000), Buffer.alloc(40_000)]],
    ['sends a large packet that awaits attachments', [`451-/chat,["x","${'x'.repeat(70_000)}"]`]],
    ['does the same with an acknowledgement', [`461-/chat,["${'x'.repeat(70_000)}"]`]],
  ] as const)('that %s is closed at once', async ([, packets]) => {
    const ws = await openWebSocket()
    const closed = once(ws, 'close', { signal: AbortSignal.timeout(5_000) })
    for (const packet of packets) ws.send(packet)
    await closed
  })

  it('that shows a token of the greatest length is told what is wrong with it', async () => {
    await expect(gateway.connect('x'.repeat(16_384))).rejects.toMatchObject({
      data: { code: 'unauthenticated' },
    })
  })

  it('that probes its upgrade over and over is closed at once, and leaves no timer behind', async () => {
    const started = vi.spyOn(globalThis, 'setInterval')
    const cleared = vi.spyOn(globalThis, 'clearInterval')
    const hello = await (await fetch(`${gateway.url}/socket.io/?EIO=4&transport=polling`)).text()
    const ws = new WebSocket(`${engine()}&sid=${JSON.parse(hello.slice(1)).sid}`)
    await once(ws, 'open')
    const closed = once(ws, 'close', { signal: AbortSignal.timeout(5_000) })
    for (let n = 0; n < 100; n++) ws.send('2probe')
    await closed
    const checks = started.mock.calls.flatMap(([, ms], call) =>
      ms === 100 ? [started.mock.results[call]?.value] : [],
    )
    const ended = new Set(cleared.mock.calls.map(([timer]) => timer))
    expect(checks.length).toBeGreaterThan(0)
    expect(checks.filter((timer) => !ended.has(timer))).toHaveLength(0)
    started.mockRestore()
    cleared.mockRestore()
  })

  it('that sends a message in thousands of pieces is closed at once', async () => {
    const ws = await openWebSocket()
    const closed = once(ws, 'close', { signal: AbortSignal.timeout(5_000) })
    for (let n = 0; n < 5_000; n++) ws.send('4', { fin: false })
    await closed
  })

  it('that pings its websocket is answered, with the last of many pings sent at once', async () => {
    const ws = await openWebSocket()
    const told: string[] = []
    ws.on('pong', (data) => told.push(data.toString()))
    for (let n = 0; n <= 1_000; n++) ws.ping(`${n}`)
    await vi.waitFor(() => expect(told.at(-1)).toBe('1000'))
    expect(told.length).toBeLessThan(1_001)
    ws.ping('again')
    await vi.waitFor(() => expect(told.at(-1)).toBe('again'))
    ws.terminate()
  })

  it('follows 500 conversations and no more, each of which may be joined again', async () => {
    const socket = await gateway.connect(gateway.token('ada', 'acme'))
    const joined: string[] = []
    const join = () => {
      const { id } = fake.add(createFakeConversation('acme', [ADA]))
      joined.push(id)
      return socket.emitWithAck('conversation:join', { conversationId: id })
    }
    const answers = await Promise.all(Array.from({ length: LIMITS.roomsPerSocket + 1 }, join))
    const refused = answers.filter(({ ok }) => !ok)
    expect(refused).toMatchObject([{ error: { code: 'conflict', retryable: false } }])
    // As after a `resync`: the socket is in that room already.
    const [conversationId] = joined
    expect(await socket.emitWithAck('conversation:join', { conversationId })).toMatchObject({ ok: true })
    expect(await gateway.rooms()).toBe(LIMITS.roomsPerSocket)
    socket.disconnect()
    await vi.waitFor(async () => expect(await gateway.rooms()).toBe(0))
  })

  it("a stranger's question about a conversation leaves nothing of its org behind", async () => {
    const conversation = fake.add(createFakeConversation('acme', [ADA]))
    const stranger = await gateway.connect(gateway.token('ada', 'elsewhere'))
    const ada = await gateway.connect(gateway.token('ada', 'acme'))
    const payload = { conversationId: conversation.id }
    const [refused, joined] = await Promise.all([
      stranger.emitWithAck('conversation:join', payload),
      ada.emitWithAck('conversation:join', payload),
    ])
    expect(refused).toMatchObject({ ok: false, error: { code: 'not_found' } })
    expect(joined).toMatchObject({ ok: true, online: { users: ['ada'] } })
    const message = conversation.add('for acme')
    const news = new Promise((resolve) => ada.once('message:new', resolve))
    const leaked = vi.fn()
    stranger.onAny(leaked)
    await gateway.publish([
      gateway.event('message.created', conversation, { seq: 1, data: message, to: ['user:ada'] }),
    ])
    expect(await news).toMatchObject({ content: 'for acme' })
    expect(leaked).not.toHaveBeenCalled()
  })
})

describe('a newer token', () => {
  it('that no longer is an admin’s ends a join that the admin had under way', async () => {
    const { id } = fake.add(createFakeConversation('acme', [ADA]))
    const socket = await gateway.connect(gateway.token('root', 'acme', { roles: ['admin'] }))
    const asked = Promise.withResolvers<void>()
    const refreshed = Promise.withResolvers<void>()
    fake.beforeEach((path) => {
      if (path !== '/internal/join') return
      asked.resolve()
      return refreshed.promise
    })
    const joining = socket.emitWithAck('conversation:join', { conversationId: id })
    await asked.promise
    const token = gateway.token('root', 'acme')
    expect(await socket.emitWithAck('auth:refresh', { token })).toMatchObject({ ok: true })
    refreshed.resolve()
    expect(await joining).toMatchObject({ ok: false, error: { code: 'not_found' } })
    fake.beforeEach(() => undefined)
  })
})

describe('a newcomer', () => {
  it('whose token cannot be verified because its issuer is away is asked to come back', async () => {
    const keys = { JWT_SECRET: '', JWT_JWKS_URL: 'http://127.0.0.1:1/keys' }
    const unsure = await startTestGateway(fake.api, keys)
    const header = Buffer.from('{"alg":"EdDSA"}').toString('base64url')
    try {
      await expect(unsure.tryConnect(`${header}.e30.AAAA`)).rejects.toMatchObject({
        data: { code: 'overloaded', reconnectAfterMs: expect.any(Number) },
      })
    } finally {
      await unsure.close()
    }
  })
})

describe('a connected socket', () => {
  it('keeps no headers, token or request, and a second namespace on its connection is refused', async () => {
    const socket = await gateway.connect(gateway.token('gus', 'acme'))
    for (const { conn, handshake } of gateway.gateway.app.io.of('/chat').sockets.values()) {
      expect([conn.request, handshake.headers, handshake.auth]).toEqual([null, {}, {}])
    }
    const again = socket.io.socket('/elsewhere')
    const refused = new Promise<Error>((resolve) => again.once('connect_error', resolve))
    again.connect()
    expect((await refused).message).toBe('Invalid namespace')
    const { id } = fake.add(createFakeConversation('acme', [{ type: 'user', id: 'gus' }]))
    expect(await socket.emitWithAck('conversation:join', { conversationId: id })).toMatchObject({ ok: true })
  })
})

describe('a revocation', () => {
  it('that may have been lost while the list was being read causes another reading', async () => {
    const answered = Promise.withResolvers<void>()
    fake.beforeEach((path) => (path === '/internal/revocations' ? answered.promise : undefined))
    const asked = () => fake.calls.filter((path) => path === '/internal/revocations').length
    const before = asked()
    await gateway.redis.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
    await vi.waitFor(() => expect(asked()).toBe(before + 1))
    await gateway.redis.flushall()
    await vi.waitFor(async () => {
      const { body } = await gateway.gateway.app.inject('/metrics')
      expect(body).toMatch(/stream_losses_total\{.*"wiped".*\} 5/)
    })
    answered.resolve()
    await vi.waitFor(() => expect(asked()).toBe(before + 2))
    fake.beforeEach(() => undefined)
  })

  it('that comes later for the same person ends sockets also when found by polling', async () => {
    const late = createFakeApi()
    const alone = await startTestGateway(late.api)
    try {
      const now = Math.floor(Date.now() / 1_000)
      const old = alone.token('ada', 'acme', { iat: now - 120 })
      const data = JSON.stringify({ ...ADA, before: now - 60 })
      await vi.waitFor(async () => {
        await alone.publish([{ type: 'auth.revoked', org: 'acme', cid: '', data }])
        await expect(alone.connect(old)).rejects.toMatchObject({ data: { code: 'unauthenticated' } })
      })
      const socket = await alone.connect(alone.token('ada', 'acme'))
      late.revocations.push({ orgId: 'acme', ...ADA, before: now + 60 })
      await alone.redis.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
      await vi.waitFor(() => expect(socket.connected).toBe(false))
    } finally {
      await alone.close()
    }
  })

  it('may not be known yet: until the list has been read once, newcomers are asked to come back', async () => {
    const late = createFakeApi()
    late.setAway(true)
    late.revocations.push({ orgId: 'acme', ...ADA, before: Math.floor(Date.now() / 1_000) + 60 })
    const early = await startTestGateway(late.api)
    try {
      const [revoked, sound] = [early.token('ada', 'acme'), early.token('bob', 'acme')]
      for (const token of [revoked, sound]) {
        await expect(early.tryConnect(token)).rejects.toMatchObject({
          data: { code: 'overloaded', reconnectAfterMs: expect.any(Number) },
        })
      }
      const presence = await early.gateway.app.inject({
        url: '/presence/user/ada',
        headers: { authorization: `Bearer ${revoked}` },
      })
      expect(presence.json()).toMatchObject({ status: 503, code: 'unavailable' })
      late.setAway(false)
      await vi.waitFor(async () => expect((await early.connect(sound)).connected).toBe(true))
      await expect(early.connect(revoked)).rejects.toMatchObject({ data: { code: 'unauthenticated' } })
    } finally {
      await early.close()
    }
  })
})

describe('an event sent before the socket’s token was revoked', () => {
  it('is not begun after that: an answer would be written in that name', async () => {
    const { id } = fake.add(createFakeConversation('acme', [{ type: 'agent', id: 'bot' }]))
    const agent = await gateway.connect(gateway.token('bot', 'acme', { type: 'agent' }))
    const [socket] = [...gateway.gateway.app.io.of('/chat').sockets.values()].filter(
      ({ data }) => data.userId === 'bot',
    )
    const START = '/internal/streams/start'
    const starts = () => fake.calls.filter((path) => path === START).length
    const answered = Promise.withResolvers<void>()
    fake.beforeEach((path) => (path === START ? answered.promise : undefined))
    for (const clientMessageId of ['one', 'two']) {
      agent.emit('message:stream', { op: 'start', conversationId: id, clientMessageId })
    }
    await vi.waitFor(() => expect([starts(), socket?.data.session.pending]).toEqual([1, 2]))
    const data = JSON.stringify({ type: 'agent', id: 'bot', before: Math.floor(Date.now() / 1_000) + 60 })
    await gateway.publish([{ type: 'auth.revoked', org: 'acme', cid: '', data }])
    await vi.waitFor(() => expect(agent.connected).toBe(false))
    answered.resolve()
    await vi.waitFor(() => expect(socket?.data.session.pending).toBe(0))
    expect(starts()).toBe(1)
    fake.beforeEach(() => undefined)
  })
})

describe('a token that ends', () => {
  it('closes its socket after the grace period and not before, unless it is replaced in that time', async () => {
    const open = async (expiresIn: number) => {
      const token = gateway.token(`of ${expiresIn}`, 'acme', { expiresIn })
      const socket = await gateway.connect(token)
      const told: unknown[] = []
      socket.on('auth:expired', (payload) => told.push(payload))
      socket.on('disconnect', (reason) => told.push(reason))
      const { expiresAt } = await socket.emitWithAck('auth:refresh', { token })
      const nowhere = { conversationId: 'f'.repeat(24) }
      const isServed = async () => (await socket.emitWithAck('conversation:leave', nowhere)).ok
      return { socket, told, end: Date.parse(expiresAt), isServed }
    }
    // Clients drop a connection that was silent for 45 s of their time, which is faked too.
    const [first, second, renewed] = [await open(6), await open(7), await open(8)]
    const over = [{ code: 'token_expired' }, 'io server disconnect']
    try {
      vi.setSystemTime(first.end + 25_000)
      const token = gateway.token('of 8', 'acme')
      expect(await renewed.socket.emitWithAck('auth:refresh', { token })).toMatchObject({ ok: true })
      expect(await first.isServed()).toBe(true)
      vi.setSystemTime(first.end + 30_000)
      await vi.waitFor(() => expect(first.told).toEqual(over))
      expect([second.told, await second.isServed()]).toEqual([[], true])
      vi.setSystemTime(renewed.end + 30_000)
      await vi.waitFor(() => expect(second.told).toEqual(over))
      expect([renewed.told, await renewed.isServed()]).toEqual([[], true])
    } finally {
      vi.useRealTimers()
    }
  })

  const start = (expiresInSeconds: number) => {
    vi.useFakeTimers()
    const told: string[] = []
    const session = { expiresAt: Date.now() / 1_000 + expiresInSeconds, expiryTold: false }
    const socket = { data: { session }, disconnect: () => told.push('closed') }
    const expiry = createExpiry<typeof socket>({ emit: (_socket, event) => void told.push(event) })
    expiry.watch(socket)
    return { told, session, socket, expiry }
  }

  it('is announced a minute ahead, and closes the socket after 30 s of grace', () => {
    const { told } = start(600)
    vi.advanceTimersByTime(539_000)
    expect(told).toEqual([])
    vi.advanceTimersByTime(2_000)
    expect(told).toEqual(['auth:expiring'])
    vi.advanceTimersByTime(88_000)
    expect(told).toEqual(['auth:expiring'])
    vi.advanceTimersByTime(2_000)
    expect(told).toEqual(['auth:expiring', 'auth:expired', 'closed'])
    vi.useRealTimers()
  })

  it('does not close its socket if it was refreshed in time', () => {
    const { told, session, socket, expiry } = start(600)
    vi.advanceTimersByTime(620_000)
    session.expiresAt = Date.now() / 1_000 + 600
    expiry.watch(socket)
    vi.advanceTimersByTime(500_000)
    expect(told).toEqual(['auth:expiring'])
    vi.useRealTimers()
  })

  it('in a year gets no early warning', () => {
    const { told, socket, expiry } = start(365 * 86_400)
    vi.setSystemTime(Date.now() + 300 * 86_400_000)
    vi.advanceTimersByTime(2_000)
    expect(told).toEqual([])
    vi.setSystemTime(Date.now() + 66 * 86_400_000)
    vi.advanceTimersByTime(2_000)
    expect(told).toEqual(['auth:expiring', 'auth:expired', 'closed'])
    expiry.stop(socket)
    vi.useRealTimers()
  })
})
