import type { Change, Message } from '@parley/contract'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createParley, type Parley, type ParleyOptions } from './client.ts'
import { createWorld, type FakeServer, startFakeServer, tokenOf, type World } from './testing/fake-server.ts'

let world: World
let servers: FakeServer[]
let clients: Parley[]

beforeEach(async () => {
  world = createWorld()
  servers = [await startFakeServer(world), await startFakeServer(world)]
  clients = []
})
afterEach(async () => {
  vi.useRealTimers()
  for (const client of clients) client.close()
  await Promise.all(servers.map((server) => server.stop()))
})

const server = (index = 0): FakeServer => {
  const found = servers[index]
  if (!found) throw new Error(`No server ${index}`)
  return found
}

function client(options: Partial<ParleyOptions> = {}): Parley {
  const created = createParley({
    apiUrl: server(1).url,
    gatewayUrls: servers.map(({ url }) => url),
    token: 'good',
    ...options,
  })
  clients.push(created)
  return created
}

async function joined(options: Partial<ParleyOptions> = {}) {
  const parley = client(options)
  const room = parley.conversation(world.conversationId)
  const seen: Message[] = []
  room.on('message:new', (message) => seen.push(message))
  await room.join()
  return { parley, room, seen }
}
/** Joins wait until what this returns is called. */
function hold(): () => void {
  const { promise, resolve } = Promise.withResolvers<void>()
  server().faults.holdJoins = promise
  return resolve
}
const seqs = (messages: Message[]) => messages.map(({ seq }) => seq)
const write = (count: number) => {
  for (let i = 0; i < count; i++)
    world.append({ clientMessageId: null, content: `m${world.messages.length + 1}` })
}

describe('sending', () => {
  it('stores a message once whose acknowledgement was lost', async () => {
    const { room } = await joined()
    server().faults.loseAcks = 1
    const message = await room.send('Is this thing on?')
    expect(message).toMatchObject({ seq: 1, content: 'Is this thing on?' })
    expect(world.messages).toHaveLength(1)
  })

  it('goes by REST while there is no gateway', async () => {
    const parley = client({ gatewayUrls: ['http://127.0.0.1:9'] })
    await expect(parley.conversation(world.conversationId).send('hello')).resolves.toMatchObject({ seq: 1 })
  })

  it('keeps the order in which it was asked, also where a send has to be repeated', async () => {
    const { room } = await joined()
    server().faults.loseAcks = 1
    await Promise.all(['a', 'b', 'c'].map((text) => room.send(text)))
    expect(world.messages.map(({ content }) => content)).toEqual(['a', 'b', 'c'])
  })

  it('tries again what may succeed later, and reports at once what can not', async () => {
    const { room } = await joined()
    server().faults.refuseSends = { code: 'unavailable', times: 2 }
    await expect(room.send('later')).resolves.toMatchObject({ seq: 1 })
    server().faults.refuseSends = { code: 'conversation_not_active', times: 1 }
    await expect(room.send('never')).rejects.toMatchObject({
      code: 'conversation_not_active',
      retryable: false,
    })
    await expect(room.send('next')).resolves.toMatchObject({ seq: 2 })
  })

  it('refuses what is longer than a packet may be, and keeps the connection', async () => {
    const { parley, room } = await joined()
    await expect(room.send('€'.repeat(400_000))).rejects.toMatchObject({
      code: 'payload_too_large',
      retryable: false,
    })
    expect(parley.state).toBe('connected')
  })

  it('refuses at once what no JSON can hold, over the socket and by REST, and sends what is behind it', async () => {
    const { parley, room } = await joined()
    const metadata = { count: 1n }
    const refusal = { code: 'validation_failed', retryable: false }
    const refused = room.send({ content: 'never', metadata })
    const next = room.send('next')
    await expect(refused).rejects.toMatchObject(refusal)
    await expect(next).resolves.toMatchObject({ seq: 1, content: 'next' })
    await expect(parley.conversations.update(world.conversationId, { metadata })).rejects.toMatchObject(
      refusal,
    )
  })

  it('sends what it was given as it was then, though its turn comes later', async () => {
    const { room } = await joined()
    const metadata = { draft: 1 }
    server().faults.mute = true
    const stop = new AbortController()
    const before = room.send('before', { signal: stop.signal })
    before.catch(() => undefined)
    await eventually(() => expect(server().of('message:send')).toHaveLength(1))
    const sent = room.send({ content: 'then', metadata })
    metadata.draft = 2
    server().faults.mute = false
    stop.abort()
    await sent
    expect(server().of('message:send')[1]).toMatchObject({ content: 'then', metadata: { draft: 1 } })
  })

  it('gives up in the time it was given', async () => {
    const { room } = await joined()
    server().faults.mute = true
    await expect(room.send('hello', { timeoutMs: 100 })).rejects.toMatchObject({ code: 'timeout' })
  })

  it('gives up in no time where it has none, and not at once where it has more than a timer can be', async () => {
    const { room } = await joined()
    const sent = [2 ** 31, Number.POSITIVE_INFINITY].map((timeoutMs) => room.send('hello', { timeoutMs }))
    await expect(Promise.all(sent)).resolves.toHaveLength(2)
    server().faults.mute = true
    for (const timeoutMs of [-1, 1.5]) {
      await expect(room.send('hello', { timeoutMs })).rejects.toMatchObject({ code: 'timeout' })
    }
  })

  it('gives up in the time it was given also while it waits for another', async () => {
    const { room } = await joined()
    server().faults.mute = true
    const stop = new AbortController()
    const first = room.send('first', { signal: stop.signal })
    await expect(room.send('second', { timeoutMs: 50 })).rejects.toMatchObject({
      code: 'timeout',
      message: expect.stringContaining('was not stored'),
    })
    stop.abort()
    await expect(first).rejects.toMatchObject({ code: 'aborted' })
    server().faults.mute = false
    await expect(room.send('third')).resolves.toMatchObject({ content: 'third' })
    expect(world.messages.map(({ content }) => content)).not.toContain('second')
  })

  it('goes on where no token can be had just now: what it sent may have been stored', async () => {
    for (const bad of ['old', 'older']) server(1).faults.badTokens.add(tokenOf(bad))
    const tokens = ['old', 'older', new Error('the issuer is away'), 'good']
    const token = () => {
      const next = tokens.shift() ?? 'good'
      if (next instanceof Error) throw next
      return tokenOf(next)
    }
    const parley = client({ token, gatewayUrls: ['http://127.0.0.1:9'] })
    await expect(parley.conversation(world.conversationId).send('hello')).resolves.toMatchObject({ seq: 1 })
    expect(tokens).toEqual([])
  })

  it('fails with `closed` when the client is closed meanwhile', async () => {
    const { parley, room } = await joined()
    server().faults.mute = true
    const sent = room.send('hello')
    sent.catch(() => undefined)
    await eventually(() => expect(server().of('message:send')).toHaveLength(1))
    parley.close()
    await expect(sent).rejects.toMatchObject({ code: 'closed' })
  })
})

describe('receiving', () => {
  it('goes on where it was after the gateway is gone, on the next one', async () => {
    const { parley, seen } = await joined()
    write(2)
    await eventually(() => expect(seen).toHaveLength(2))
    const [first] = servers
    await first?.stop()
    servers.shift()
    write(3)
    await eventually(() => expect(seqs(seen)).toEqual([1, 2, 3, 4, 5]))
    expect(parley.state).toBe('connected')
  })

  it('goes on where it was though gateways die in the middle of the handshake', async () => {
    const { seen } = await joined()
    server(0).faults.dieInHandshake = 1
    server(1).faults.dieInHandshake = 2
    server(0).dropAll()
    write(3)
    await eventually(() => expect(seqs(seen)).toEqual([1, 2, 3]))
    expect(servers.map(({ faults }) => faults.dieInHandshake)).toContain(0)
  })

  it('fetches what a join can not carry', async () => {
    write(250)
    const parley = client()
    const room = parley.conversation(world.conversationId)
    const seen: Message[] = []
    room.on('message:new', (message) => seen.push(message))
    await room.join({ afterSeq: 0 })
    write(2)
    await eventually(() => expect(seen).toHaveLength(252))
    expect(seqs(seen)).toEqual(Array.from({ length: 252 }, (_, i) => i + 1))
    await eventually(() => expect(room.state).toBe('live'))
  })

  it('notices a silent gap by prevSeq and fills it before it goes on', async () => {
    const { seen } = await joined()
    server().faults.swallowLive = 2
    write(3)
    await eventually(() => expect(seqs(seen)).toEqual([1, 2, 3]))
  })

  it('fetches when told to resync', async () => {
    const { seen } = await joined()
    server().faults.swallowLive = 2
    write(2)
    server().emit('resync', { conversationId: world.conversationId, reason: 'test' })
    await eventually(() => expect(seqs(seen)).toEqual([1, 2]))
  })

  it('survives an api that is away during a fill', async () => {
    const { seen } = await joined()
    server(1).faults.restAway = true
    server().faults.swallowLive = 1
    write(2)
    await eventually(() => expect(server().calls.length).toBeGreaterThan(0))
    server(1).faults.restAway = false
    await eventually(() => expect(seqs(seen)).toEqual([1, 2]))
  })

  it('shows what was deleted while it was away', async () => {
    write(2)
    const { room } = await joined()
    const deleted: number[] = []
    room.on('message:deleted', ({ seq }) => deleted.push(seq))
    world.remove(1)
    await eventually(() => expect(deleted).toEqual([1]))
    for (const each of servers) each.dropAll()
    world.remove(2)
    await eventually(() => expect(deleted).toEqual([1, 2]))
    await eventually(() => expect(room.position).toEqual({ seq: 2, changeSeq: 2 }))
  })

  it('hands messages to a loop', async () => {
    const { room } = await joined()
    const stop = new AbortController()
    const texts: string[] = []
    const reading = (async () => {
      for await (const { content } of room.messages({ signal: stop.signal })) {
        texts.push(content)
        if (texts.length === 3) stop.abort()
      }
    })()
    write(3)
    await reading
    expect(texts).toEqual(['m1', 'm2', 'm3'])
  })

  it('hands a loop nothing any more once its signal has fired', async () => {
    const { room } = await joined()
    const stop = new AbortController()
    const texts: string[] = []
    const loop = room.messages({ signal: stop.signal })
    write(3)
    await eventually(() => expect(room.position.seq).toBe(3))
    for await (const { content } of loop) {
      texts.push(content)
      stop.abort()
    }
    expect(texts).toEqual(['m1'])
  })

  it('goes on handing messages to a loop once it connects again after it failed', async () => {
    let current = tokenOf('old')
    const { parley, room } = await joined({ token: () => current })
    const reading = room.messages().next()
    const failed = new Promise((resolve) => parley.once('failed', resolve))
    for (const each of servers) each.faults.badTokens.add(current)
    server().dropAll()
    await failed
    current = tokenOf('new')
    await parley.connect()
    write(1)
    expect(await reading).toMatchObject({ value: { content: 'm1' } })
  })

  it('is away once the client is closed', async () => {
    const { parley, room } = await joined()
    const lost: string[] = []
    parley.on('disconnected', () => lost.push(parley.state))
    parley.close()
    await eventually(() => expect(parley.state).toBe('closed'))
    expect([room.state, ...lost]).toEqual(['away', 'closed'])
    const never = client()
    never.close()
    expect(never.state).toBe('closed')
  })

  it('has nothing more to say once the client is closed', async () => {
    const { parley, room } = await joined()
    const typing: boolean[] = []
    room.on('user:typing', ({ isTyping }) => typing.push(isTyping))
    server().emit('user:typing', {
      conversationId: room.id,
      participantType: 'user',
      participantId: 'bob',
      userId: 'bob',
      isTyping: true,
    })
    await eventually(() => expect(typing).toEqual([true]))
    parley.close()
    await eventually(() => expect(typing).toEqual([true, false]))
    await expect(room.online()).rejects.toMatchObject({ code: 'closed' })
  })

  it('hands out nothing once the client is closed, also of what waited behind a further join', async () => {
    const { parley, room, seen } = await joined()
    hold()
    const joining = room.join()
    await eventually(() => expect(server().of('conversation:join')).toHaveLength(2))
    write(1)
    // Sent behind it to the same socket.
    const told = new Promise((resolve) => parley.once('presence:update', resolve))
    server().emit('presence:update', {})
    await told
    parley.close()
    await expect(joining).rejects.toMatchObject({ code: 'closed' })
    expect(seen).toEqual([])
    expect(room.position.seq).toBe(0)
  })

  it('ends loops over a room that is let go of', async () => {
    const parley = client()
    const room = parley.conversation(world.conversationId)
    const next = room.messages().next()
    parley.forget(room.id)
    expect(await next).toMatchObject({ done: true })
    expect(await room.messages().next()).toMatchObject({ done: true })
  })

  it('takes away one of two listeners that are the same function', async () => {
    const { room } = await joined()
    const heard = vi.fn()
    const off = room.on('message:new', heard)
    room.on('message:new', heard)
    off()
    await room.send('hello')
    await eventually(() => expect(heard).toHaveBeenCalledOnce())
  })

  it('follows what it joins again right after it left: the leave came behind the first join', async () => {
    const parley = client()
    await parley.connect()
    const release = hold()
    const room = parley.conversation(world.conversationId)
    const seen: Message[] = []
    room.on('message:new', (message) => seen.push(message))
    const first = room.join()
    first.catch(() => undefined)
    await eventually(() => expect(server().of('conversation:join')).toHaveLength(1))
    const left = room.leave()
    const second = room.join()
    release()
    await Promise.all([left, second])
    await expect(first).rejects.toMatchObject({ code: 'aborted' })
    write(2)
    await eventually(() => expect(seqs(seen)).toEqual([1, 2]))
    expect(room.state).toBe('live')
  })

  it('stays out of what it left while it was joining', async () => {
    const parley = client()
    await parley.connect()
    const release = hold()
    const room = parley.conversation(world.conversationId)
    const joining = room.join()
    joining.catch(() => undefined)
    await eventually(() => expect(server().of('conversation:join')).toHaveLength(1))
    const left = room.leave()
    release()
    await left
    expect(room.state).toBe('out')
    await expect(joining).rejects.toMatchObject({ code: 'aborted' })
  })

  it('stays out of what it left and could not join again', async () => {
    const { parley, room } = await joined()
    await room.leave()
    server().faults.refuseJoins = { code: 'conflict', times: 1 }
    await expect(room.join()).rejects.toMatchObject({ code: 'conflict' })
    expect(room.state).toBe('out')
    const connected = new Promise((resolve) => parley.once('connected', resolve))
    server().dropAll()
    await connected
    await parley.conversation(world.conversationId).send('still here')
    expect(server(1).of('conversation:join')).toEqual([])
  })

  it('begins anew where it is told to as it joins again what it left', async () => {
    const { room, seen } = await joined()
    write(2)
    await eventually(() => expect(seqs(seen)).toEqual([1, 2]))
    world.remove(1)
    await eventually(() => expect(room.position.changeSeq).toBe(1))
    await room.leave()
    write(1)
    seen.length = 0
    await room.join({ afterSeq: 0 })
    expect(seqs(seen)).toEqual([1, 2, 3])
    expect(room.position).toEqual({ seq: 3, changeSeq: 1 })
    await room.join({ afterSeq: 0 })
    expect(seen).toHaveLength(3)
    await room.leave()
    server().faults.refuseJoins = { code: 'conflict', times: 1 }
    await expect(room.join({ afterSeq: 1 })).rejects.toMatchObject({ code: 'conflict' })
    await room.join()
    expect([room.position.seq, seen.length]).toEqual([3, 3])
  })

  it('hears what changed while it was out though it says only after which message it begins', async () => {
    write(2)
    const { room } = await joined()
    const deleted: number[] = []
    room.on('message:deleted', ({ seq }) => deleted.push(seq))
    await room.leave()
    world.remove(1)
    await room.join({ afterSeq: room.position.seq })
    expect(deleted).toEqual([1])
    expect(room.position).toEqual({ seq: 2, changeSeq: 1 })
  })

  it('goes on from where it left also where the place that it is given is undefined', async () => {
    const { room, seen } = await joined()
    await room.leave()
    write(1)
    await room.join({ afterSeq: undefined, afterChangeSeq: 0 })
    expect(seqs(seen)).toEqual([1])
  })

  it('tells again what changed where it says only after which change it begins', async () => {
    write(2)
    const { room, seen } = await joined()
    const deleted: number[] = []
    room.on('message:deleted', ({ seq }) => deleted.push(seq))
    world.remove(1)
    await eventually(() => expect(deleted).toEqual([1]))
    await room.leave()
    world.remove(2)
    write(1)
    await room.join({ afterChangeSeq: 0 })
    expect(deleted).toEqual([1, 1, 2])
    expect(seqs(seen)).toEqual([3])
    expect(room.position).toEqual({ seq: 3, changeSeq: 2 })
  })

  it('leaves also where the connection goes meanwhile', async () => {
    const { parley, room } = await joined()
    const left = room.leave()
    parley.close()
    await expect(left).resolves.toBeUndefined()
  })

  it('is live when it joins again though it left in the middle of a fill', async () => {
    const { room, seen } = await joined()
    server(1).faults.restAway = true
    server().faults.swallowLive = 1
    write(2)
    await eventually(() => expect(room.state).toBe('filling'))
    await room.leave()
    await room.join()
    expect([room.state, ...seqs(seen)]).toEqual(['live', 1, 2])
  })

  it('tells no older state of a conversation behind a newer one: what it fetched came later than the next join', async () => {
    const { parley, room } = await joined()
    const titles: string[] = []
    room.on('conversation:updated', ({ conversation }) => titles.push(conversation.title))
    // Of a conversation only its last change is kept.
    const retitle = (changeSeq: number, title: string) => {
      const conversation = { id: room.id, title } as NonNullable<Change['conversation']>
      world.changes.splice(0, 1, { changeSeq, kind: 'conversation.updated', conversation })
    }
    retitle(1, 'old')
    const late = Promise.withResolvers<void>()
    const real = fetch
    const asked = vi.spyOn(globalThis, 'fetch')
    asked.mockImplementation(async (url, init) => {
      const response = await real(url, init)
      if (!String(url).includes('/changes')) return response
      asked.mockRestore()
      await late.promise
      return response
    })
    server().emit('resync', { conversationId: room.id, reason: 'behind' })
    await eventually(() => expect(vi.isMockFunction(globalThis.fetch)).toBe(false))
    server().faults.swallowLive = 120
    server(1).faults.swallowLive = 120
    write(120)
    retitle(2, 'new')
    server().dropAll()
    await eventually(() => expect(titles).toEqual(['new']))
    expect([parley.state, room.state]).toEqual(['connected', 'filling'])
    late.resolve()
    await eventually(() => expect(room.state).toBe('live'))
    expect(titles).toEqual(['new'])
    expect(room.position.changeSeq).toBeGreaterThanOrEqual(1)
  })

  it('goes on filling where something on the way says that there is nothing', async () => {
    const { room, seen } = await joined()
    server(1).faults.strayRest = 1
    server().faults.swallowLive = 1
    write(2)
    await eventually(() => expect(seqs(seen)).toEqual([1, 2]))
    await eventually(() => expect(room.state).toBe('live'))
  })

  it('comes back to a room that it was kept out of for another reason than that it is gone', async () => {
    const { room, seen } = await joined()
    for (const each of servers) each.faults.refuseJoins = { code: 'unauthenticated', times: 1 }
    server(0).dropAll()
    await eventually(() => expect(server(1).of('conversation:join')).toHaveLength(1))
    await eventually(() => expect(room.state).toBe('away'))
    for (const each of servers) each.faults.refuseJoins = null
    server(1).dropAll()
    write(1)
    await eventually(() => expect(seqs(seen)).toEqual([1]))
  })

  it('is told once that it is out, also in the middle of a fill', async () => {
    const { parley, room } = await joined()
    const removed: string[] = []
    room.on('conversation:removed', ({ reason }) => removed.push(reason))
    const release = Promise.withResolvers<void>()
    server(1).faults.holdRest = release.promise
    server().faults.swallowLive = 1
    write(2)
    await eventually(() => expect(server(1).rest).toHaveLength(1))
    server().emit('conversation:removed', { conversationId: world.conversationId, reason: 'deleted' })
    await eventually(() => expect(room.state).toBe('removed'))
    server(1).faults.restGone = true
    release.resolve()
    await expect(parley.conversations.get(world.conversationId)).rejects.toMatchObject({ code: 'not_found' })
    expect(removed).toEqual(['deleted'])
  })

  it('hears a conversation whose id was written in capitals', async () => {
    const parley = client()
    const room = parley.conversation(world.conversationId.toUpperCase())
    await room.join()
    write(1)
    await eventually(() => expect(room.position.seq).toBe(1))
    expect(parley.conversation(world.conversationId)).toBe(room)
  })

  it('rejects a join into what is not there', async () => {
    await expect(client().conversation('f'.repeat(24)).join()).rejects.toMatchObject({ code: 'not_found' })
  })
})

describe('connection', () => {
  it('asks for another token when one is refused', async () => {
    for (const each of servers) each.faults.badTokens.add(tokenOf('old'))
    const tokens = ['old', 'new']
    const parley = client({ token: () => tokenOf(tokens.shift() ?? 'new') })
    await parley.connect()
    expect(parley.state).toBe('connected')
  })

  it('asks for yet another a second later where that one is refused too, as behind a revocation', async () => {
    for (const each of servers)
      for (const token of ['old', 'older']) each.faults.badTokens.add(tokenOf(token))
    const asked: number[] = []
    const tokens = ['old', 'older', 'new', 'old', 'older', 'new']
    const token = () => {
      asked.push(Date.now())
      return tokenOf(tokens.shift() ?? 'new')
    }
    await client({ token }).connect()
    await client({ token }).me()
    const [, second = 0, third = 0, , fifth = 0, sixth = 0] = asked
    expect(third - second).toBeGreaterThanOrEqual(1_000)
    expect(sixth - fifth).toBeGreaterThanOrEqual(1_000)
  })

  it('asks again for a token that it could not get after one was refused', async () => {
    for (const each of servers) each.faults.badTokens.add(tokenOf('old'))
    const token = vi
      .fn(() => Promise.resolve(tokenOf('new')))
      .mockResolvedValueOnce(tokenOf('old'))
      .mockRejectedValueOnce(new Error('the issuer is away'))
    expect(await client({ token }).me()).toMatchObject({ id: 'bot' })
    token.mockResolvedValueOnce(tokenOf('old')).mockRejectedValueOnce(new Error('the issuer is away'))
    const parley = client({ token })
    await parley.connect()
    expect(parley.state).toBe('connected')
  })

  it('takes a deletion for done where the answer to it was lost and it is gone when asked again', async () => {
    const parley = client()
    server(1).faults.loseRest = 1
    await parley.conversations.delete('gone')
    await expect(parley.conversations.delete('gone')).rejects.toMatchObject({ code: 'not_found' })
  })

  it('turns to the next api once where several calls fail together', async () => {
    servers.push(await startFakeServer(world))
    const asked = servers.map(({ url }) => url)
    const parley = client({ apiUrl: ['http://127.0.0.1:9', ...asked] })
    await Promise.all([parley.me(), parley.me()])
    await parley.me()
    expect(servers.map(({ rest }) => rest.length)).toEqual([3, 0, 0])
  })

  it('says what kind of failure it is where no token can be had, and asks again for a call that may be repeated', async () => {
    const token = vi
      .fn(() => Promise.resolve(tokenOf('good')))
      .mockRejectedValueOnce(new Error('the issuer is away'))
    expect(await client({ token }).conversations.get(world.conversationId)).toMatchObject({
      id: world.conversationId,
    })
    expect(token).toHaveBeenCalledTimes(2)
    const never = client({ token: () => Promise.reject(new Error('the issuer is away')) })
    const created = never.conversations.create({ title: 'no' })
    await expect(created).rejects.toMatchObject({ code: 'network', message: 'the issuer is away' })
  })

  it('asks again for a token where what it got is none: a page that something on the way put there', async () => {
    const page = '<html>\n<body>502 Bad Gateway</body></html>'
    for (const each of servers) each.faults.badTokens.add(page)
    const token = vi.fn(() => tokenOf('good')).mockReturnValueOnce(page)
    expect(await client({ token }).me()).toMatchObject({ id: 'bot' })
    token.mockReturnValueOnce(page).mockReturnValueOnce(page)
    const parley = client({ token })
    await parley.connect()
    expect(parley.state).toBe('connected')
  })

  it('gives up as it is told also while its token function says nothing', async () => {
    const token = vi.fn(() => Promise.resolve(tokenOf('good'))).mockReturnValue(new Promise(() => undefined))
    const parley = client({ token })
    parley.connect().catch(() => undefined)
    const waiting = parley.me()
    waiting.catch(() => undefined)
    await expect(parley.me({ signal: AbortSignal.timeout(10) })).rejects.toMatchObject({ code: 'aborted' })
    parley.close()
    await expect(waiting).rejects.toMatchObject({ code: 'closed' })
    await eventually(() => expect(parley.state).toBe('closed'))
    expect(token).toHaveBeenCalledTimes(1)
  })

  it('calls a token function again that said nothing for long', async () => {
    const timeout = vi.spyOn(AbortSignal, 'timeout').mockReturnValueOnce(AbortSignal.timeout(10))
    const token = vi
      .fn(() => Promise.resolve(tokenOf('good')))
      .mockReturnValueOnce(new Promise(() => undefined))
    expect(await client({ token }).me()).toMatchObject({ id: 'bot' })
    timeout.mockRestore()
  })

  it('takes the token of a function that is slower than it may be, though later calls give none', async () => {
    const timeout = vi.spyOn(AbortSignal, 'timeout').mockReturnValueOnce(AbortSignal.timeout(10))
    const slow = new Promise<string>((resolve) => setTimeout(resolve, 60, tokenOf('good')))
    const token = vi.fn(() => new Promise<string>(() => undefined)).mockReturnValueOnce(slow)
    expect(await client({ token }).me()).toMatchObject({ id: 'bot' })
    expect(token).toHaveBeenCalledTimes(1)
    timeout.mockRestore()
  })

  it('fails for good with a fixed token that is refused', async () => {
    for (const each of servers) each.faults.badTokens.add('old')
    await expect(client({ token: 'old' }).connect()).rejects.toMatchObject({ code: 'token_expired' })
  })

  it('tries again for callers who ask for it as soon as they hear that it failed', async () => {
    const tokens = ['old', 'older', 'older', 'older', 'new']
    for (const each of servers)
      for (const token of ['old', 'older']) each.faults.badTokens.add(tokenOf(token))
    const parley = client({ token: () => tokenOf(tokens.shift() ?? 'new') })
    const again = new Promise<void>((resolve, reject) => {
      parley.once('failed', () => parley.connect().then(resolve, reject))
    })
    await expect(parley.connect()).rejects.toMatchObject({ code: 'token_expired' })
    await again
    expect(parley.state).toBe('connected')
  })

  it('refreshes its token on the open connection', async () => {
    let issued = 0
    await joined({ token: () => tokenOf(`token-${++issued}`) })
    server().emit('auth:expiring', { expiresAt: new Date(Date.now() + 60_000).toISOString() })
    await eventually(() => expect(server().of('auth:refresh')).toEqual([{ token: tokenOf('token-2') }]))
  })

  it('does not hurry with tokens that live for seconds', async () => {
    let issued = 0
    await joined({ token: () => tokenOf(`token-${++issued}`) })
    const warn = (ms: number) =>
      server().emit('auth:expiring', { expiresAt: new Date(Date.now() + ms).toISOString() })
    const begun = Date.now()
    warn(600)
    await eventually(() => expect(server().of('auth:refresh')).toHaveLength(1))
    expect(Date.now() - begun).toBeGreaterThanOrEqual(290)
  })

  it('shows another token on the open connection when a send is refused for the old one', async () => {
    let issued = 0
    const { room } = await joined({ token: () => tokenOf(`token-${++issued}`) })
    server().faults.refuseSends = { code: 'token_expired', times: 1 }
    await expect(room.send('hello')).resolves.toMatchObject({ seq: 1 })
    expect(server().of('auth:refresh')).toEqual([{ token: tokenOf('token-2') }])
  })

  it('waits for a gateway that is there as long as the api may take, and no longer', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    const { parley, room } = await joined()
    server().faults.mute = true
    const sent = room.send('hello')
    await eventually(() => expect(server().of('message:send')).toHaveLength(1))
    await vi.advanceTimersByTimeAsync(10_000)
    await eventually(() => expect(server().of('conversation:leave')).toHaveLength(1))
    await parley.me()
    await vi.advanceTimersByTimeAsync(12_000)
    expect(parley.state).toBe('connected')
    await vi.advanceTimersByTimeAsync(3_000)
    await expect(sent).resolves.toMatchObject({ seq: 1 })
    expect(server(1).of('message:send').length + server(1).rest.length).toBeGreaterThan(0)
  })

  it('leaves a gateway that hangs sooner', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    const { room } = await joined()
    server().faults.mute = true
    server().faults.holdLeaves = new Promise(() => undefined)
    const sent = room.send('hello')
    await eventually(() => expect(server().of('message:send')).toHaveLength(1))
    await vi.advanceTimersByTimeAsync(10_000)
    await eventually(() => expect(server().of('conversation:leave')).toHaveLength(1))
    await vi.advanceTimersByTimeAsync(2_000)
    await expect(sent).resolves.toMatchObject({ seq: 1 })
  })

  it('hears what comes right behind the handshake', async () => {
    server().faults.greeting = { expiresAt: new Date(Date.now() + 60_000).toISOString() }
    const parley = client()
    const heard = new Promise((resolve) => parley.on('auth:expiring', resolve))
    await parley.connect()
    expect(await heard).toEqual(server().faults.greeting)
  })

  it('leaves a gateway that drains for another one', async () => {
    const { seen } = await joined()
    server().emit('server:draining', { reconnectAfterMs: 10 })
    await eventually(() => expect([server(0).sockets(), server(1).sockets()]).toEqual([0, 1]))
    await eventually(() => expect(server(1).of('conversation:join')).toHaveLength(1))
    write(1)
    await eventually(() => expect(seqs(seen)).toEqual([1]))
  })
})

describe('small signals', () => {
  it('takes what large rooms get together apart again', async () => {
    const { parley, room } = await joined()
    const told: unknown[] = []
    room.on('message:receipt', ({ participantId, readSeq }) => told.push([participantId, 'read', readSeq]))
    room.on('user:joined', ({ participantId }) => told.push([participantId, 'joined']))
    room.on('user:left', ({ userId }) => told.push([userId, 'left']))
    parley.on('presence:update', ({ participantId, status }) => told.push([participantId, status]))
    const { conversationId } = world
    const who = (id: string) => ({ type: 'user', id })
    server().emit('room:aggregate', {
      conversationId,
      receipts: [
        { conversationId, participantType: 'user', participantId: 'ada', userId: 'ada', readSeq: 3 },
      ],
      joined: [who('bob')],
      left: [who('eve')],
      online: [who('bob')],
      offline: [who('eve')],
    })
    await eventually(() =>
      expect(told).toEqual([
        ['ada', 'read', 3],
        ['bob', 'joined'],
        ['eve', 'left'],
        ['bob', 'online'],
        ['eve', 'offline'],
      ]),
    )
  })

  it('sends one read position for many in quick succession', async () => {
    const { room } = await joined()
    await Promise.all([1, 2, 3, 4].map((seq) => room.read(seq)))
    expect(server().of('message:read')).toEqual([
      { conversationId: world.conversationId, seq: 1 },
      { conversationId: world.conversationId, seq: 4 },
    ])
  })

  it('sends a read position again by REST where the connection goes meanwhile', async () => {
    const { room } = await joined()
    write(3)
    server().faults.loseAcks = 1
    await expect(room.read(3)).resolves.toEqual({ readSeq: 3, unread: 0 })
  })

  it('cancels an answer though the connection goes meanwhile, or is gone, as long as its caller waits', async () => {
    const { parley, room } = await joined()
    const lost = () =>
      new Promise((resolve) => {
        parley.once('disconnected', resolve)
        for (const each of servers) each.dropAll()
      })
    server().faults.loseAcks = 1
    await room.cancel('answer')
    await lost()
    await room.cancel('answer')
    expect(servers.flatMap((each) => each.of('message:cancel'))).toEqual(
      Array(3).fill({ conversationId: world.conversationId, messageId: 'answer' }),
    )
    await lost()
    const stop = new AbortController()
    const given = room.cancel('answer', { signal: stop.signal })
    stop.abort()
    await expect(given).rejects.toMatchObject({ code: 'aborted' })
  })

  it('sends no read position that nobody asked for', async () => {
    const { room } = await joined()
    const inTurn = room.read(3).then(() => room.read(7))
    await expect(room.read(5)).resolves.toMatchObject({ readSeq: 7 })
    await inTurn
    expect(server().of('message:read')).toMatchObject([{ seq: 3 }, { seq: 7 }])
  })

  it('lets go of a room that is not followed, and of no other', async () => {
    const { parley, room } = await joined()
    parley.forget(room.id)
    expect(parley.conversation(room.id)).toBe(room)
    await room.leave()
    parley.forget(room.id)
    await expect(room.join()).rejects.toMatchObject({ code: 'closed' })
    const next = parley.conversation(room.id)
    expect(next).not.toBe(room)
    await next.join()
    expect(next.state).toBe('live')
  })

  it('goes on hearing a conversation whose forgotten room is left once more', async () => {
    const { parley, room } = await joined()
    await room.leave()
    parley.forget(room.id)
    const next = parley.conversation(room.id)
    await next.join()
    await room.leave()
    write(1)
    await eventually(() => expect(next.position.seq).toBe(1))
    expect(server().of('conversation:leave')).toHaveLength(1)
  })

  it('sends read positions as they are asked for, however high or wrong one before was', async () => {
    const { room } = await joined()
    await room.read(99)
    await room.read(2)
    room.read(Number.NaN).catch(() => undefined)
    await room.read(3)
    expect(server().of('message:read')).toMatchObject([{ seq: 99 }, { seq: 2 }, { seq: null }, { seq: 3 }])
  })

  it('signals typing once for many key strokes', async () => {
    const { room } = await joined()
    for (let key = 0; key < 20; key++) room.typing()
    room.typing(false)
    await eventually(() => expect(server().of('message:typing')).toHaveLength(2))
    expect(server().of('message:typing')).toMatchObject([{ isTyping: true }, { isTyping: false }])
  })
})

const eventually = (check: () => void) => vi.waitFor(check, { interval: 10 })
