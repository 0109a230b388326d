import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { type Agent, createAgent } from './agent.ts'
import { ParleyError } from './errors.ts'
import { createWorld, type FakeServer, startFakeServer, type World } from './testing/fake-server.ts'
import type { MessageHandler } from './turns.ts'

let world: World
let others: World[]
let server: FakeServer
let agent: Agent
let errors: Error[]
let statusChanges: number

beforeEach(async () => {
  world = createWorld()
  others = [createWorld(1), createWorld(2)]
  server = await startFakeServer(world, ...others)
  agent = createAgent({ url: server.url, token: 'bot' })
  errors = []
  statusChanges = 0
  agent.on('error', ({ error }) => errors.push(error))
})
afterEach(async () => {
  vi.useRealTimers()
  await agent.stop()
  await server.stop()
})

const ask = (content: string, where = world) => where.append({ clientMessageId: null, content })
const announce = ({ conversationId } = world) =>
  server.emit('conversation:added', { conversation: { id: conversationId } })
const setStatus = (status: string, { conversationId } = world) =>
  server.emit('conversation:updated', {
    conversationId,
    changeSeq: ++statusChanges,
    changed: ['status'],
    conversation: { id: conversationId, status },
  })
const texts = (where = world) => where.messages.map(({ content, status }) => `${status}: ${content}`)

async function answering(handler: MessageHandler): Promise<void> {
  agent.onMessage(handler)
  await agent.start()
  const following = new Promise((resolve) => agent.on('following', resolve))
  announce()
  await following
}

describe('agent', () => {
  it('streams an answer to what is written, with what it cost', async () => {
    await answering(async (message, { stream }) => {
      const answer = stream({ model: 'm' })
      for (const word of ['You ', 'said ', message.content]) answer.write(word)
      const stored = await answer.end({ usage: { inputTokens: 1, outputTokens: 3 } })
      expect(stored.status).toBe('sent')
    })
    const question = ask('hello')
    await eventually(() => expect(texts()).toEqual(['sent: hello', 'sent: You said hello']))
    expect(world.messages[1]?.parentId).toBe(question.id)
    const ends = server.of('message:stream').filter((step) => (step as { op: string }).op === 'end')
    expect(ends).toMatchObject([{ usage: { inputTokens: 1, outputTokens: 3 } }])
    expect(errors).toEqual([])
  })

  it('goes on after an answer that it ended itself: it calls a tool, and answers with what that found', async () => {
    const fired: boolean[] = []
    const told: string[] = []
    await answering(async (_message, { stream, context, signal }) => {
      const call = stream()
      call.write('Let me look.')
      await call.end({ toolCalls: [{ id: 't', name: 'look', arguments: {} }] })
      // Also after the others were told.
      await eventually(() => expect(told).toContain('Let me look.'))
      fired.push(call.signal.aborted, signal.aborted)
      const { messages } = await context()
      stream().write(`Found ${messages.length}.`)
    })
    agent.parley.conversation(world.conversationId).on('message:updated', ({ content }) => told.push(content))
    ask('well?')
    await eventually(() => expect(texts()).toEqual(['sent: well?', 'sent: Let me look.', 'sent: Found 2.']))
    expect(fired).toEqual([false, false])
    expect(errors).toEqual([])
  })

  it('is told of what its handler throws after an answer', async () => {
    await answering(async (_message, { reply, stream }) => {
      const answer = stream()
      answer.write('Done.')
      await answer.end()
      await reply('or not')
      throw new Error('the log is full')
    })
    ask('well?')
    await eventually(() => expect(errors.map(({ message }) => message)).toEqual(['the log is full']))
    expect(texts()).toEqual(['sent: well?', 'sent: Done.', 'sent: or not'])
  })

  it('is told that its answer was cancelled also where it was just ending it', async () => {
    let fired = false
    await answering(async (_message, { stream }) => {
      const answer = stream()
      answer.write('A story')
      await eventually(() => expect(world.messages[1]?.content).toBe('A story'))
      const [, message] = world.messages
      if (!message) throw new Error('no answer')
      message.status = 'cancelled'
      expect(await answer.end()).toMatchObject({ status: 'cancelled' })
      fired = answer.signal.aborted
    })
    ask('tell me')
    await eventually(() => expect(fired).toBe(true))
    expect(errors).toEqual([])
  })

  it('answers what was written before it came, and nothing twice', async () => {
    ask('first')
    world.append({
      clientMessageId: 'x',
      content: 'done',
      parentId: world.messages[0]?.id ?? null,
      participantType: 'agent',
      participantId: 'bot',
    })
    ask('second')
    ask('third')
    await answering((message, { reply }) => reply(`re ${message.content}`).then(() => undefined))
    await eventually(() => expect(texts().slice(4)).toEqual(['sent: re second', 'sent: re third']))
  })

  it('answers the first message of a conversation that it is in from the beginning, whatever clock it was stored by', async () => {
    world.append({ clientMessageId: null, content: 'first', createdAt: '1999-12-31T23:59:59.900Z' })
    await answering(async (_message, { stream }) => {
      await stream().end({ content: 'an answer' })
    })
    await eventually(() => expect(texts()).toEqual(['sent: first', 'sent: an answer']))
  })

  it('leaves alone what was written before it was added', async () => {
    world.createdAt = '1999-12-31T00:00:00.000Z'
    world.append({ clientMessageId: null, content: 'among us', createdAt: '1999-12-31T23:00:00.000Z' })
    world.append({ clientMessageId: null, content: 'and you?' })
    await answering(async ({ content }, { stream }) => {
      await stream().end({ content: `to ${content}` })
    })
    await eventually(() => expect(texts()).toEqual(['sent: among us', 'sent: and you?', 'sent: to and you?']))
  })

  it('answers what came before its last answer and after what that one answers, however far back that is', async () => {
    const first = ask('first')
    for (let n = 0; n < 50; n++) ask(`${n}`)
    world.append({
      clientMessageId: 'x',
      parentId: first.id,
      participantType: 'agent',
      participantId: 'bot',
    })
    const handed: string[] = []
    await answering(({ content }) => void handed.push(content))
    await eventually(() => expect(handed).toEqual(Array.from({ length: 49 }, (_, n) => `${n + 1}`)))
  })

  it.each([
    { cut: ['failed'], after: ['failed: Half', 'sent: Whole'] },
    { cut: ['streaming'], after: ['sent: Whole'] },
    { cut: ['failed', 'failed', 'failed'], after: ['failed: Half', 'failed: Half', 'failed: Half'] },
    { cut: ['sent', 'failed'], after: ['sent: Half', 'failed: Half'] },
    { cut: ['cancelled'], after: ['cancelled: Half'] },
  ] as const)('begins an answer again that was cut short: $cut', async ({ cut, after }) => {
    const question = ask('well?')
    for (const [index, status] of cut.entries())
      world.append({
        clientMessageId: `answer-${question.id}${index === 0 ? '' : `-${index + 1}`}`,
        content: 'Half',
        status,
        parentId: question.id,
        participantType: 'agent',
        participantId: 'bot',
      })
    await answering(async ({ content }, { stream }) => {
      await stream().end({ content: content === 'well?' ? 'Whole' : 'Next' })
    })
    ask('next')
    await eventually(() => expect(texts()).toContain('sent: Next'))
    expect(texts().filter((text) => text !== 'sent: next' && text !== 'sent: Next')).toEqual([
      'sent: well?',
      ...after,
    ])
    expect(errors).toEqual([])
  })

  it('is handed once what was written until it was added again', async () => {
    const handed: string[] = []
    await answering(({ content }, { reply }) => {
      handed.push(content)
      return reply(`re ${content}`).then(() => undefined)
    })
    ask('before')
    await eventually(() => expect(texts()).toContain('sent: re before'))
    const room = agent.parley.conversation(world.conversationId)
    server.emit('conversation:removed', { conversationId: world.conversationId, reason: 'removed' })
    await eventually(() => expect(room.state).toBe('removed'))
    // Nothing is kept of it.
    expect(agent.parley.conversation(world.conversationId)).not.toBe(room)
    ask('meanwhile')
    announce()
    await eventually(() => expect(texts()).toContain('sent: re meanwhile'))
    ask('after')
    await eventually(() => expect(texts()).toContain('sent: re after'))
    expect(handed).toEqual(['before', 'meanwhile', 'after'])
  })

  it('answers in more conversations than a socket may be in', async () => {
    server.faults.roomLimit = 2
    const handed: string[] = []
    await answering(({ content }, { reply }) => {
      handed.push(content)
      return reply(`re ${content}`).then(() => undefined)
    })
    const all = [world, ...others]
    for (const other of others) announce(other)
    await eventually(() => expect(server.of('conversation:join').length).toBeGreaterThanOrEqual(4))
    for (const round of ['first', 'second', 'third']) {
      for (const [index, each] of all.entries()) {
        ask(`${round} ${index}`, each)
        await eventually(() => expect(texts(each).at(-1)).toBe(`sent: re ${round} ${index}`))
      }
    }
    expect(handed).toEqual(
      ['first', 'second', 'third'].flatMap((round) => all.map((_, i) => `${round} ${i}`)),
    )
    expect(errors).toEqual([])
  })

  it('answers what was written while it was away also in more conversations than it is told of', async () => {
    const [other, another] = others
    if (!other || !another) throw new Error('too few')
    agent.onMessage(({ content }, { reply }) => reply(`re ${content}`).then(() => undefined))
    await agent.start()
    server.faults.swallowLive = 1
    ask('before', another)
    server.emit('conversation:ready', {
      conversation: { id: world.conversationId },
      // As many as it can name.
      active: Array.from({ length: 499 }, () => ({ id: other.conversationId, lastSeq: 0 })),
    })
    await eventually(() => expect(texts(another)).toEqual(['sent: before', 'sent: re before']))
    expect(errors).toEqual([])
  })

  it('waits for a place while it has just come to those where it is', async () => {
    server.faults.roomLimit = 1
    agent.onMessage(({ content }, { reply }) => reply(`re ${content}`).then(() => undefined))
    await agent.start()
    const release = Promise.withResolvers<void>()
    server.faults.holdRest = release.promise
    ask('before')
    await eventually(() => expect(server.rest.some((call) => call.includes('/last/'))).toBe(true))
    ask('there, too', others[0])
    await eventually(() => expect(server.of('conversation:join').length).toBeGreaterThan(1))
    release.resolve()
    await eventually(() => expect(texts(others[0])).toContain('sent: re there, too'))
    expect(texts()).toEqual(['sent: before', 'sent: re before'])
    expect(errors).toEqual([])
  })

  it('comes back where another took its place as the connection came back', async () => {
    await answering(({ content }, { reply }) => reply(`re ${content}`).then(() => undefined))
    server.faults.refuseJoins = { code: 'conflict', times: 2 }
    server.faults.swallowLive = 1
    ask('meanwhile')
    server.dropAll()
    await eventually(() => expect(texts()).toEqual(['sent: meanwhile', 'sent: re meanwhile']))
    expect(errors).toEqual([])
  })

  it('asks once for a room that it is kept out of for another reason, and says so', async () => {
    await answering(() => undefined)
    server.faults.refuseJoins = { code: 'unauthenticated', times: 100 }
    server.dropAll()
    await eventually(() => expect(errors).toMatchObject([{ code: 'unauthenticated' }]))
    await agent.parley.me()
    expect(server.of('conversation:join')).toHaveLength(3)
  })

  it('says that its token is refused: nothing comes any more', async () => {
    await answering(() => undefined)
    server.faults.badTokens.add('bot')
    server.dropAll()
    await eventually(() => expect(errors).toMatchObject([{ code: 'token_expired' }]))
    expect(agent.parley.state).toBe('failed')
  })

  it('hears what is written while it leaves', async () => {
    server.faults.roomLimit = 1
    await answering(({ content }, { reply }) => reply(`re ${content}`).then(() => undefined))
    const release = Promise.withResolvers<void>()
    server.faults.holdLeaves = release.promise
    announce(others[0])
    await eventually(() => expect(server.of('conversation:leave')).toHaveLength(1))
    ask('meanwhile')
    server.faults.holdLeaves = null
    release.resolve()
    await eventually(() => expect(texts()).toEqual(['sent: meanwhile', 'sent: re meanwhile']))
  })

  it('goes on with an answer in a conversation that it leaves as its token is revoked', async () => {
    server.faults.roomLimit = 1
    const finish = Promise.withResolvers<void>()
    let isCut = false
    await answering(async (_message, { stream, signal }) => {
      const answer = stream()
      answer.write('Half')
      await finish.promise
      isCut = signal.aborted
      answer.write(' and whole')
    })
    ask('well?')
    await eventually(() => expect(texts()).toEqual(['sent: well?', 'streaming: Half']))
    const release = Promise.withResolvers<void>()
    server.faults.holdLeaves = release.promise
    announce(others[0])
    await eventually(() => expect(server.of('conversation:leave')).toHaveLength(1))
    const removed = vi.fn()
    agent.parley.on('conversation:removed', removed)
    // Sent behind it to the same socket.
    const told = new Promise((resolve) => agent.parley.once('presence:update', resolve))
    server.emit('conversation:removed', { conversationId: world.conversationId, reason: 'revoked' })
    server.emit('presence:update', {})
    await told
    expect(removed).not.toHaveBeenCalled()
    server.dropAll()
    server.faults.holdLeaves = null
    release.resolve()
    await eventually(() => expect(agent.parley.state).toBe('connected'))
    finish.resolve()
    await eventually(() => expect(texts()[1]).not.toContain('streaming'))
    expect(texts()).toEqual(['sent: well?', 'sent: Half and whole'])
    expect(isCut).toBe(false)
  })

  it('answers once a conversation that was closed goes on, also where nobody else would tell it', async () => {
    server.faults.quiet = true
    await answering(({ content }, { reply }) => reply(`re ${content}`).then(() => undefined))
    const told: string[] = []
    const room = agent.parley.conversation(world.conversationId)
    room.on('conversation:updated', ({ conversation }) => told.push(conversation.status))
    setStatus('closed')
    await eventually(() => expect(told).toEqual(['closed']))
    // Whatever it does about that is done.
    for (let i = 0; i < 3; i++) await agent.parley.me()
    setStatus('active')
    ask('and now?')
    await eventually(() => expect(texts()).toEqual(['sent: and now?', 'sent: re and now?']))
    expect(errors).toEqual([])
  })

  it('leaves one that is not active rather than the one that was quiet for longest', async () => {
    server.faults.roomLimit = 2
    await answering(({ content }, { reply }) => reply(`re ${content}`).then(() => undefined))
    const [other, another] = others
    announce(other)
    ask('first', other)
    await eventually(() => expect(texts(other)).toContain('sent: re first'))
    setStatus('closed', other)
    announce(another)
    await eventually(() => expect(server.of('conversation:leave')).toHaveLength(1))
    expect(server.of('conversation:leave')).toEqual([{ conversationId: other?.conversationId }])
  })

  it('looks each minute into those that it left: of one of many people it is not told', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
    server.faults.roomLimit = 1
    server.faults.quiet = true
    await answering(({ content }, { reply }) => reply(`re ${content}`).then(() => undefined))
    announce(others[0])
    await eventually(() =>
      expect(agent.parley.conversation(others[0]?.conversationId ?? '').state).toBe('live'),
    )
    // It has looked back as it left.
    await eventually(() => expect(server.rest).toContain(`GET /conversations/${world.conversationId}`))
    await agent.parley.me()
    ask('and here?')
    vi.advanceTimersByTime(60_000)
    await eventually(() => expect(texts()).toEqual(['sent: and here?', 'sent: re and here?']))
    expect(errors).toEqual([])
  })

  it('looks each minute also where it left none: what was closed as it came is told by nobody', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
    server.faults.quiet = true
    ask('and now?')
    agent.onMessage(({ content }, { reply }) => reply(`re ${content}`).then(() => undefined))
    await agent.start()
    vi.advanceTimersByTime(60_000)
    await eventually(() => expect(texts()).toEqual(['sent: and now?', 'sent: re and now?']))
    expect(errors).toEqual([])
  })

  it('says at each look that its token is refused, and asks no more until the next', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
    server.faults.quiet = true
    agent.onMessage(({ content }, { reply }) => reply(`re ${content}`).then(() => undefined))
    await agent.start()
    ask('and here?')
    server.faults.badTokens.add('bot')
    for (const looks of [1, 2]) {
      vi.advanceTimersByTime(60_000)
      await eventually(() => expect(errors).toHaveLength(looks))
    }
    expect(errors).toMatchObject([{ code: 'token_expired' }, { code: 'token_expired' }])
    expect(server.rest.filter((call) => call.startsWith('GET /conversations?'))).toHaveLength(2)
    server.faults.badTokens.clear()
    vi.advanceTimersByTime(60_000)
    await eventually(() => expect(texts()).toEqual(['sent: and here?', 'sent: re and here?']))
  })

  it('looks no more once its client is closed', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
    await agent.start()
    expect(vi.getTimerCount()).toBe(1)
    agent.parley.close()
    await eventually(() => expect(agent.parley.state).toBe('closed'))
    expect(vi.getTimerCount()).toBe(0)
  })

  it('looks for what was written before it came until the api answers', async () => {
    ask('before')
    agent.onMessage(({ content }, { reply }) => reply(`re ${content}`).then(() => undefined))
    await agent.start()
    server.faults.strayRest = 1
    announce()
    await eventually(() => expect(texts()).toEqual(['sent: before', 'sent: re before']))
    expect(errors).toEqual([])
  })

  it('hands on once what another agent ended as it came', async () => {
    await agent.stop()
    agent = createAgent({ url: server.url, token: 'bot', answerAgents: true })
    const message = world.append({
      clientMessageId: 'y',
      content: 'by another',
      status: 'streaming',
      participantType: 'agent',
      participantId: 'other',
    })
    const handed: string[] = []
    agent.onMessage(({ content }) => void handed.push(content))
    await agent.start()
    const following = new Promise((resolve) => agent.on('following', resolve))
    const release = Promise.withResolvers<void>()
    server.faults.holdRest = release.promise
    const told = new Promise((resolve) => {
      agent.parley.conversation(world.conversationId).on('message:updated', resolve)
    })
    announce()
    await eventually(() => expect(server.rest.some((call) => call.includes('/last/'))).toBe(true))
    message.status = 'sent'
    world.changed(message)
    await told
    release.resolve()
    await following
    ask('after')
    await eventually(() => expect(handed).toContain('after'))
    expect(handed).toEqual(['by another', 'after'])
  })

  it('takes its answer up again after the connection broke, with no letter lost or doubled', async () => {
    const proceed = Promise.withResolvers<void>()
    await answering(async (_message, { stream }) => {
      const answer = stream()
      answer.write('Before, ')
      await proceed.promise
      answer.write('and after.')
      await answer.end()
    })
    const deltas: unknown[] = []
    world.listeners.add((event, payload) => {
      if (event === 'message:stream') deltas.push(payload)
    })
    ask('go')
    await eventually(() => expect(world.messages[1]?.content).toBe('Before, '))
    server.dropAll()
    proceed.resolve()
    await eventually(() => expect(texts()).toEqual(['sent: go', 'sent: Before, and after.']))
    expect(deltas).toMatchObject([{ index: 0, text: 'Before, ' }])
    const starts = server.of('message:stream').filter((step) => (step as { op: string }).op === 'start')
    expect(new Set(starts.map((step) => (step as { clientMessageId: string }).clientMessageId)).size).toBe(1)
  })

  it('writes nothing behind what the process before it wrote: its own answer replaces that', async () => {
    const question = ask('why')
    world.append({
      clientMessageId: `answer-${question.id}`,
      parentId: question.id,
      status: 'streaming',
      role: 'assistant',
      participantType: 'agent',
      participantId: 'bot',
      content: 'No, bec',
    })
    const proceed = Promise.withResolvers<void>()
    await answering(async (_message, { stream }) => {
      const answer = stream()
      answer.write('Well, that is so.')
      await proceed.promise
    })
    await eventually(() => expect(server.of('message:stream')).not.toHaveLength(0))
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect(texts()).toEqual(['sent: why', 'streaming: No, bec'])
    proceed.resolve()
    await eventually(() => expect(texts()).toEqual(['sent: why', 'sent: Well, that is so.']))
  })

  it('stops writing when the answer is cancelled', async () => {
    const stopped = Promise.withResolvers<boolean>()
    await answering(async (_message, { stream, signal }) => {
      const answer = stream()
      answer.write('A very long story')
      await new Promise((resolve) => signal.addEventListener('abort', resolve))
      answer.write(' that nobody wants')
      stopped.resolve(answer.text === 'A very long story')
    })
    ask('tell me')
    await eventually(() => expect(world.messages[1]?.content).toBe('A very long story'))
    const [, message] = world.messages
    if (!message) throw new Error('no answer')
    message.status = 'cancelled'
    world.changed(message)
    server.emit('message:cancel', { conversationId: world.conversationId, messageId: message.id })
    await expect(stopped.promise).resolves.toBe(true)
    expect(texts()).toEqual(['sent: tell me', 'cancelled: A very long story'])
    expect(errors).toEqual([])
  })

  it('ends an answer as failed that it stops in the middle of, though its handler ends it', async () => {
    await answering(async (_message, { stream, signal }) => {
      const answer = stream()
      for (const word of ['Half ', 'an answer']) {
        if (signal.aborted) break
        answer.write(word)
        await new Promise((resolve) => signal.addEventListener('abort', resolve))
      }
      await answer.end({ usage: { inputTokens: 1, outputTokens: 1 } })
    })
    ask('well?')
    await eventually(() => expect(world.messages[1]?.content).toBe('Half '))
    await agent.stop()
    expect(texts()).toEqual(['sent: well?', 'failed: Half '])
  })

  it('ends an answer as failed as it stops, though its handler goes on', async () => {
    await answering(async (_message, { stream }) => {
      stream().write('Half ')
      await new Promise(() => undefined)
    })
    ask('well?')
    await eventually(() => expect(world.messages[1]?.content).toBe('Half '))
    await agent.stop()
    expect(texts()).toEqual(['sent: well?', 'failed: Half '])
  })

  it('lets a handler finish however long that takes', async () => {
    const finish = Promise.withResolvers<void>()
    await answering(async (_message, { stream }) => {
      stream().write('Whole')
      await finish.promise
    })
    ask('well?')
    await eventually(() => expect(world.messages[1]?.content).toBe('Whole'))
    const stopped = agent.stop({ graceMs: Number.POSITIVE_INFINITY })
    await new Promise((resolve) => setTimeout(resolve, 100))
    finish.resolve()
    await stopped
    expect(texts()).toEqual(['sent: well?', 'sent: Whole'])
  })

  it('stores an answer whole that its handler has just in time as it stops', async () => {
    await answering(async (_message, { stream, signal }) => {
      const answer = stream()
      answer.write('Half ')
      await new Promise((resolve) => signal.addEventListener('abort', resolve))
      await answer.end({ content: 'I have to go.' })
    })
    ask('well?')
    await eventually(() => expect(world.messages[1]?.content).toBe('Half '))
    await agent.stop()
    expect(texts()).toEqual(['sent: well?', 'sent: I have to go.'])
  })

  it('shows nothing of an answer that its handler begins as it stops, unless it has it whole', async () => {
    let turns = 0
    await answering(async (_message, { stream, signal }) => {
      turns += 1
      await new Promise((resolve) => signal.addEventListener('abort', resolve))
      const answer = stream()
      answer.write('Half ')
      await answer.end({ usage: { inputTokens: 1, outputTokens: 1 } })
    })
    ask('well?')
    await eventually(() => expect(turns).toBe(1))
    await agent.stop()
    expect(texts()).toEqual(['sent: well?'])

    agent = createAgent({ url: server.url, token: 'bot' })
    agent.on('error', ({ error }) => errors.push(error))
    await answering(async (_message, { stream, signal }) => {
      turns += 1
      await new Promise((resolve) => signal.addEventListener('abort', resolve))
      await stream().end({ content: 'I have to go.' })
    })
    await eventually(() => expect(turns).toBe(2))
    await agent.stop()
    expect(texts()).toEqual(['sent: well?', 'sent: I have to go.'])
    expect(errors).toEqual([])
  })

  it('is not handed what was deleted before its turn came, also as it came', async () => {
    const handed: string[] = []
    const release = Promise.withResolvers<void>()
    const finish = Promise.withResolvers<void>()
    agent.onMessage(async ({ content }) => {
      handed.push(content)
      await finish.promise
    })
    await agent.start()
    server.faults.holdRest = release.promise
    const following = new Promise((resolve) => agent.on('following', resolve))
    const room = agent.parley.conversation(world.conversationId)
    const deleted: number[] = []
    room.on('message:deleted', ({ seq }) => deleted.push(seq))
    ask('before')
    await eventually(() => expect(server.rest.some((call) => call.includes('/last/'))).toBe(true))
    ask('as it came')
    await eventually(() => expect(room.position.seq).toBe(2))
    world.remove(2)
    await eventually(() => expect(deleted).toEqual([2]))
    release.resolve()
    await following
    await eventually(() => expect(handed).toEqual(['before']))
    ask('in line')
    ask('last')
    await eventually(() => expect(room.position.seq).toBe(4))
    world.remove(3)
    await eventually(() => expect(deleted).toEqual([2, 3]))
    finish.resolve()
    await eventually(() => expect(handed).toContain('last'))
    expect(handed).toEqual(['before', 'last'])
  })

  it('begins no answer once it stops, also while it lets those under way finish', async () => {
    const finish = Promise.withResolvers<void>()
    await answering(async ({ content }, { reply }) => {
      await finish.promise
      await reply(`re ${content}`)
    })
    const room = agent.parley.conversation(world.conversationId)
    ask('first')
    ask('second')
    await eventually(() => expect(room.position.seq).toBe(2))
    const stopped = agent.stop({ graceMs: 10_000 })
    finish.resolve()
    await stopped
    expect(texts()).toEqual(['sent: first', 'sent: second', 'sent: re first'])
  })

  it('ends an answer as failed when its handler throws, with what was written, and says so', async () => {
    // Longer than what an abort may say, and no text where it is cut.
    const fault = `the model is away: ${'🎭'.repeat(100)}\0`
    await answering(async (_message, { stream }) => {
      stream().write('Half an ans')
      throw new Error(fault)
    })
    ask('well?')
    await eventually(() => expect(texts()[1]).toBe('failed: Half an ans'))
    expect(errors.map(({ message }) => message)).toEqual([fault])
    ask('again?')
    await eventually(() => expect(world.messages).toHaveLength(4))
  })

  it('stores an answer that its gateway disowns as the api is away', async () => {
    await answering((_message, { stream }) => stream().write('All of it'))
    const asked = vi
      .spyOn(agent.parley.messages, 'get')
      .mockRejectedValueOnce(new ParleyError('network', 'The api is away'))
    server.faults.disownEnds = 1
    ask('well?')
    await eventually(() => expect(texts()).toEqual(['sent: well?', 'sent: All of it']))
    expect(asked).toHaveBeenCalledTimes(2)
    expect(errors).toEqual([])
  })

  it('fails an answer whose end is refused: it was left streaming', async () => {
    server.faults.refuseStep = 'end'
    await answering((_message, { stream }) => stream().write('Too much'))
    ask('all of it')
    await eventually(() => expect(texts()).toEqual(['sent: all of it', 'failed: Too much']))
    expect(errors).toMatchObject([{ code: 'payload_too_large' }])
  })

  it('fails an answer with a tool call that no JSON can hold', async () => {
    const loop: Record<string, unknown> = {}
    loop.itself = loop
    await answering(async (_message, { stream }) => {
      const answer = stream()
      answer.write('Let me look.')
      await answer.end({ toolCalls: [{ id: 't', name: 'look', arguments: loop }] })
    })
    ask('well?')
    await eventually(() => expect(texts()).toEqual(['sent: well?', 'failed: Let me look.']))
    expect(errors).toMatchObject([{ code: 'validation_failed' }])
  })

  it('ends an answer with the tool calls it was given, whatever becomes of them meanwhile', async () => {
    const calls = [{ id: 't', name: 'look', arguments: { where: 'here' } }]
    await answering(async (_message, { stream }) => {
      const ended = stream().end({ toolCalls: calls })
      calls.length = 0
      await ended
    })
    ask('well?')
    await eventually(() =>
      expect(server.of('message:stream')).toContainEqual(
        expect.objectContaining({
          op: 'end',
          toolCalls: [{ id: 't', name: 'look', arguments: { where: 'here' } }],
        }),
      ),
    )
  })

  it('keeps its connection where an answer is longer than a packet may be', async () => {
    const lost: string[] = []
    await answering(async ({ content }, { stream }) => {
      const answer = stream()
      if (content === 'text') answer.write('🎭'.repeat(300_000))
      else
        await answer.end({
          toolCalls: [{ id: 't', name: 'look', arguments: {}, result: 'x'.repeat(1_200_000) }],
        })
    })
    agent.parley.on('disconnected', ({ reason }) => lost.push(reason))
    ask('result')
    await eventually(() => expect(texts()).toEqual(['sent: result', 'failed: ']))
    ask('text')
    await eventually(() => expect(world.messages[3]?.status).toBe('failed'))
    expect(world.messages[3]?.content.isWellFormed()).toBe(true)
    expect(errors).toMatchObject([{ code: 'payload_too_large' }, { code: 'payload_too_large' }])
    expect(lost).toEqual([])
  })

  it('does not start its answer over and over where the next piece is refused', async () => {
    server.faults.refuseStep = 'delta'
    const proceed = Promise.withResolvers<void>()
    await answering(async (_message, { stream }) => {
      stream().write('Too much')
      await proceed.promise
    })
    ask('all of it')
    const steps = (op: string) =>
      server.of('message:stream').filter((step) => (step as { op: string }).op === op)
    await eventually(() => expect(steps('delta')).not.toHaveLength(0))
    await new Promise((resolve) => setTimeout(resolve, 200))
    expect([steps('start').length, steps('delta').length]).toEqual([2, 1])
    proceed.resolve()
    await eventually(() => expect(texts()).toEqual(['sent: all of it', 'sent: Too much']))
  })

  it('never cuts a letter in two', async () => {
    await answering(async (_message, { stream }) => {
      const answer = stream()
      for (const half of '🎭🎭'.split('')) {
        answer.write(half)
        await new Promise((resolve) => setTimeout(resolve, 30))
      }
      await answer.end()
    })
    ask('masks')
    await eventually(() => expect(texts()[1]).toBe('sent: 🎭🎭'))
    const deltas = server.of('message:stream').filter((step) => (step as { op: string }).op === 'delta')
    for (const delta of deltas) expect((delta as { text: string }).text.isWellFormed()).toBe(true)
  })

  it('passes on in pieces what is written at once', async () => {
    const whole = `${'x'.repeat(2 ** 15 - 1)}🎭`
    const passed = Promise.withResolvers<void>()
    await answering(async (_message, { stream }) => {
      stream().write(whole)
      await passed.promise
    })
    ask('masks')
    await eventually(() => expect(world.messages[1]?.content).toBe(whole))
    passed.resolve()
    const deltas = server.of('message:stream').filter((step) => (step as { op: string }).op === 'delta')
    expect(deltas.length).toBeGreaterThan(1)
    for (const delta of deltas) expect((delta as { text: string }).text.isWellFormed()).toBe(true)
  })
})

const eventually = (check: () => void) => vi.waitFor(check, { interval: 10 })
