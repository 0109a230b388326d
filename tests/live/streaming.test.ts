import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { type Listener, streamed } from '../support/listener.ts'
import { until } from '../support/until.ts'
import { openScene, type Scene } from './scene.ts'

let scene: Scene
beforeAll(async () => {
  scene = await openScene()
})
afterEach(() => scene.hangUp())
afterAll(() => scene.close())

const TEXT = 'To be, or not to be, that is the question: 👩‍👩‍👧 Ist’s edler im Gemüt? 生存还是毁灭。 '.repeat(
  8,
)
let keys = 0

/** An agent that streams: knows its message, and where it is. */
async function stream(agent: Listener, conversationId: string, clientMessageId = `answer-${keys++}`) {
  const started = await agent.sure('message:stream', { op: 'start', conversationId, clientMessageId })
  const { messageId = '', seq = 0, index = 0 } = started
  let at = index
  return {
    messageId,
    seq,
    index,
    clientMessageId,
    /** Sends the text up to `end`, a few letters at a time; cuts surrogate pairs too. */
    async write(text: string, end = text.length): Promise<void> {
      for (let step = 1; at < end; step = (step % 7) + 1) {
        const piece = text.slice(at, Math.min(end, at + step))
        agent.socket.emit('message:stream', { op: 'delta', messageId, index: at, text: piece })
        at += piece.length
        if (at % 40 < step) await delay(5)
      }
    },
    end: (rest: object = {}) => agent.sure('message:stream', { op: 'end', messageId, ...rest }),
  }
}

async function cast() {
  const { ada, bob, bot } = scene.names('ada', 'bob', 'bot')
  const id = await scene.conversation(ada, bob, `agent:${bot}`)
  return { ada, bob, bot: `agent:${bot}`, id }
}

test('an answer is read while it is written, on both gateways, no letter lost or doubled', async () => {
  const { ada, bob, bot, id } = await cast()
  const a = await scene.join(ada, id, 0)
  const agent = await scene.join(bot, id, 1)
  const answer = await stream(agent, id)
  const first = await a.first('message:new', { id: answer.messageId })
  expect(first).toMatchObject({ seq: answer.seq, content: '', status: 'streaming', role: 'assistant' })
  await answer.write(TEXT, 200)
  await a.first('message:stream', { messageId: answer.messageId, op: 'delta' })
  // A client that joins midway gets a snapshot first, on either gateway.
  const late = [await scene.join(bob, id, 0), await scene.join(bob, id, 1)]
  await answer.write(TEXT)
  const usage = { inputTokens: 10, outputTokens: 90 }
  const { message } = await answer.end({ usage })
  expect(message).toMatchObject({ status: 'sent', content: TEXT, usage: { ...usage, totalTokens: 100 } })

  for (const listener of [a, agent, ...late]) {
    const final = await listener.first('message:updated', { id: answer.messageId })
    expect(final).toMatchObject({ status: 'sent', content: TEXT, changeSeq: 1 })
    const { text, ops } = streamed(listener, answer.messageId)
    expect(text).toBe(TEXT)
    expect(ops.at(-1)).toBe('end')
    const isLate = late.includes(listener)
    expect(ops.filter((op) => op === 'snapshot')).toHaveLength(isLate ? 1 : 0)
    if (isLate) expect(ops[0]).toBe('snapshot')
    const order = listener.heard.map(({ event, payload }) => `${event} ${'op' in payload ? payload.op : ''}`)
    expect(order.indexOf('message:stream end')).toBeLessThan(order.lastIndexOf('message:updated '))
    expect(listener.of('message:updated', { id: answer.messageId })).toHaveLength(1)
  }
  const conversation = await scene
    .http(ada)
    .sure<{ usage: object; lastMessage: { preview: string } }>('GET', `/conversations/${id}`)
  expect(conversation).toMatchObject({ usage: { totalTokens: 100 }, messageCount: 1, totalCost: 0.0002 })
  expect(conversation.lastMessage.preview.length).toBeGreaterThan(100)
  expect(TEXT.startsWith(conversation.lastMessage.preview)).toBe(true)
})

test('deltas are gathered to 40 ms', async () => {
  const { ada, bot, id } = await cast()
  const a = await scene.join(ada, id, 0)
  const agent = await scene.connect(bot, 1)
  const answer = await stream(agent, id)
  const begun = performance.now()
  for (let i = 0; i < 200; i++) {
    agent.socket.emit('message:stream', { op: 'delta', messageId: answer.messageId, index: i, text: 'x' })
    if (i % 20 === 0) await delay(10)
  }
  await answer.end()
  const took = performance.now() - begun
  await a.first('message:updated', { id: answer.messageId })
  const { text, ops } = streamed(a, answer.messageId)
  expect(text).toBe('x'.repeat(200))
  expect(ops.length).toBeLessThanOrEqual(took / 40 + 4)
})

test('what does not fit is refused and changes nothing', async () => {
  const { ada, bot, id } = await cast()
  const person = await scene.join(ada, id, 0)
  const agent = await scene.connect(bot, 0)
  const other = await scene.connect(bot, 1)
  const start = { op: 'start', conversationId: id, clientMessageId: 'refused' }
  expect(await person.ask('message:stream', start)).toMatchObject({ error: { code: 'role_not_allowed' } })
  const answer = await stream(agent, id, 'refused')
  const { messageId } = answer
  await answer.write('abc')
  const delta = (from: Listener, index: number, text: string) =>
    from.ask('message:stream', { op: 'delta', messageId, index, text })
  expect(await delta(agent, 7, 'x')).toMatchObject({ error: { code: 'conflict' } })
  expect(await delta(agent, 1, 'zz')).toMatchObject({ error: { code: 'conflict' } })
  expect(await delta(agent, 3, 'a\0')).toMatchObject({ error: { code: 'validation_failed' } })
  expect(await delta(agent, 3, 'x'.repeat(70_000))).toMatchObject({ error: { code: 'validation_failed' } })
  expect(await delta(other, 3, 'x')).toMatchObject({ error: { code: 'conflict' } })
  expect(await delta(person, 3, 'x')).toMatchObject({ error: { code: 'conflict' } })
  expect(await person.ask('message:stream', { op: 'end', messageId })).toMatchObject({
    error: { code: 'forbidden' },
  })
  expect(await agent.ask('message:stream', { ...start, model: 'another' })).toMatchObject({
    error: { code: 'idempotency_mismatch' },
  })
  // Without an acknowledgement the refusal comes as an event.
  agent.socket.emit('message:stream', { op: 'delta', messageId, index: 9, text: 'x' })
  await agent.first('message:error', { event: 'message:stream', code: 'conflict' })
  const { message } = await answer.end()
  expect(message?.content).toBe('abc')
  expect(await delta(agent, 3, 'x')).toMatchObject({ ok: false, error: { code: 'conflict' } })
})

test('a repeated start of what has ended tells how it ended; ending twice gives the stored message', async () => {
  const { bot, id } = await cast()
  const agent = await scene.connect(bot, 0)
  const answer = await stream(agent, id, 'once')
  await answer.write('Hello')
  const once = await answer.end()
  const twice = await answer.end({ content: 'Other' })
  expect(twice.message).toEqual(once.message)
  const again = await agent.sure('message:stream', {
    op: 'start',
    conversationId: id,
    clientMessageId: 'once',
  })
  expect(again).toMatchObject({ messageId: answer.messageId, seq: answer.seq, message: once.message })
})

test('cancel stores what was there, tells the agent, and ends it for all; abort makes it failed', async () => {
  const { ada, bob, bot, id } = await cast()
  const a = await scene.join(ada, id, 0)
  const b = await scene.join(bob, id, 1)
  const agent = await scene.connect(bot, 1)
  const answer = await stream(agent, id)
  const { messageId } = answer
  await answer.write(TEXT, 120)
  await until(() => streamed(a, messageId).text.length === 120)
  await a.sure('message:cancel', { conversationId: id, messageId })
  expect(await agent.first('message:cancel', { messageId })).toEqual({ conversationId: id, messageId })
  for (const listener of [a, b]) {
    const final = await listener.first('message:updated', { id: messageId })
    expect(final).toMatchObject({ status: 'cancelled', content: TEXT.slice(0, 120) })
    expect(streamed(listener, messageId)).toMatchObject({ text: TEXT.slice(0, 120) })
    expect(streamed(listener, messageId).ops.at(-1)).toBe('cancelled')
  }
  expect(
    await agent.ask('message:stream', { op: 'delta', messageId, index: 120, text: 'more' }),
  ).toMatchObject({ ok: false, error: { code: 'conflict' } })
  const late = await answer.end({ content: 'too late' })
  expect(late.message).toMatchObject({ status: 'cancelled', content: TEXT.slice(0, 120) })

  const second = await stream(agent, id)
  await second.write(TEXT, 30)
  await agent.sure('message:stream', { op: 'abort', messageId: second.messageId, reason: 'model away' })
  expect(await a.first('message:updated', { id: second.messageId })).toMatchObject({
    status: 'failed',
    content: TEXT.slice(0, 30),
  })
  await b.first('message:updated', { id: second.messageId })
  expect(streamed(b, second.messageId).ops.at(-1)).toBe('failed')

  const outsider = await scene.connect(scene.names('eve').eve, 0)
  const third = await stream(agent, id)
  expect(
    await outsider.ask('message:cancel', { conversationId: id, messageId: third.messageId }),
  ).toMatchObject({ error: { code: 'not_found' } })
  await third.end({ content: 'done' })
})

test('an agent that was cut off goes on, on the other gateway, where it was', async () => {
  const { ada, bob, bot, id } = await cast()
  const a = await scene.join(ada, id, 0)
  const b = await scene.join(bob, id, 1)
  const before = await scene.connect(bot, 0)
  const answer = await stream(before, id)
  await answer.write(TEXT, 150)
  await until(() => streamed(b, answer.messageId).text.length === 150)
  before.cut()
  const after = await scene.connect(bot, 1)
  const resumed = await stream(after, id, answer.clientMessageId)
  expect(resumed).toMatchObject({ messageId: answer.messageId, seq: answer.seq, index: 150 })
  await resumed.write(TEXT)
  await resumed.end()
  for (const listener of [a, b]) {
    const final = await listener.first('message:updated', { id: answer.messageId })
    expect(final).toMatchObject({ status: 'sent', content: TEXT })
    expect(streamed(listener, answer.messageId).text).toBe(TEXT)
  }
  expect(a.of('message:new', { id: answer.messageId })).toHaveLength(1)
})

test('so it does when its gateway was killed', async () => {
  const { ada, bot, id } = await cast()
  const a = await scene.join(ada, id, 0)
  const before = await scene.connect(bot, 1)
  const answer = await stream(before, id)
  await answer.write(TEXT, 150)
  await until(() => streamed(a, answer.messageId).text.length === 150)
  await scene.stack.kill('gateway-1')
  try {
    const after = await scene.connect(bot, 0)
    const resumed = await stream(after, id, answer.clientMessageId)
    expect(resumed).toMatchObject({ messageId: answer.messageId, index: 150 })
    await resumed.write(TEXT)
    await resumed.end()
    expect(await a.first('message:updated', { id: answer.messageId })).toMatchObject({ content: TEXT })
    expect(streamed(a, answer.messageId).text).toBe(TEXT)
  } finally {
    await scene.stack.start('gateway-1')
  }
})

test('so it does when its gateway was told to end in mid-sentence, which stored all it had been given', async () => {
  const { ada, bot, id } = await cast()
  const a = await scene.join(ada, id, 0)
  const before = await scene.connect(bot, 1)
  const answer = await stream(before, id)
  const { messageId } = answer
  const long = TEXT.repeat(6)
  // So slowly that it is not done however long the gateway takes.
  const writing = (async () => {
    for (let end = 1; before.socket.connected; end++) {
      await answer.write(long, end)
      await delay(10)
    }
  })()
  await until(() => streamed(a, messageId).text.length > 40)
  try {
    expect(await scene.stack.stop('gateway-1')).toEqual({ code: 0, signal: null })
    await writing
    await until(async () => {
      const stored = await scene.http(ada).sure<{ content: string }>('GET', `/messages/${messageId}`)
      return stored.content === streamed(a, messageId).text
    })
    const { length } = streamed(a, messageId).text
    const after = await scene.connect(bot, 0)
    const resumed = await stream(after, id, answer.clientMessageId)
    expect(resumed).toMatchObject({ messageId, index: length })
    expect(length).toBeLessThan(long.length)
    await resumed.write(long)
    await resumed.end()
    expect(await a.first('message:updated', { id: messageId })).toMatchObject({ content: long })
    expect(streamed(a, messageId).text).toBe(long)
  } finally {
    await scene.stack.start('gateway-1')
  }
})

test('an agent that does not come back leaves a failed message: after 10 s, or 30 s where its gateway died too', async () => {
  const one = await cast()
  const two = await cast()
  const a = await scene.join(one.ada, one.id, 0)
  const b = await scene.join(two.ada, two.id, 0)
  const first = await scene.connect(one.bot, 0)
  const second = await scene.connect(two.bot, 1)
  const cutOff = await stream(first, one.id)
  const orphan = await stream(second, two.id)
  await cutOff.write(TEXT, 40)
  await orphan.write(TEXT, 60)
  await until(() => streamed(a, cutOff.messageId).text.length === 40)
  await until(() => streamed(b, orphan.messageId).text.length === 60)
  first.cut()
  await scene.stack.kill('gateway-1')
  const begun = performance.now()
  try {
    const failed = await a.first('message:updated', { id: cutOff.messageId }, 15_000)
    expect(failed).toMatchObject({ status: 'failed', content: TEXT.slice(0, 40) })
    expect(performance.now() - begun).toBeGreaterThan(9_000)
    const swept = await b.first('message:updated', { id: orphan.messageId }, 30_000)
    expect(swept).toMatchObject({ status: 'failed', content: TEXT.slice(0, 60) })
    expect(performance.now() - begun).toBeLessThan(31_000)
    expect(streamed(b, orphan.messageId).ops.at(-1)).toBe('failed')
  } finally {
    await scene.stack.start('gateway-1')
  }
})

test('an agent that is taken out of the conversation can not go on', async () => {
  const { ada, bot, id } = await cast()
  const a = await scene.join(ada, id, 0)
  const agent = await scene.connect(bot, 1)
  const answer = await stream(agent, id)
  await answer.write(TEXT, 40)
  await until(() => streamed(a, answer.messageId).text.length === 40)
  await scene.http(ada).sure('DELETE', `/conversations/${id}/participants/agent/${bot.slice(6)}`)
  await agent.first('message:cancel', { messageId: answer.messageId }, 2_000)
  expect(await a.first('message:updated', { id: answer.messageId })).toMatchObject({ status: 'failed' })
})

test('a message deleted while it is streamed is gone, and its stream with it', async () => {
  const { ada, bot, id } = await cast()
  const a = await scene.join(ada, id, 0)
  const agent = await scene.connect(bot, 1)
  const answer = await stream(agent, id)
  await answer.write(TEXT, 40)
  await until(() => streamed(a, answer.messageId).text.length === 40)
  await scene.http(ada).sure('DELETE', `/messages/${answer.messageId}`)
  expect(await a.first('message:deleted', { id: answer.messageId })).toMatchObject({ content: '' })
  await agent.first('message:cancel', { messageId: answer.messageId })
  const late = await answer.end({ content: 'still here' })
  expect(late.message).toMatchObject({ content: '', status: 'cancelled' })
})

test('while Redis is away an answer is read on the gateway it comes from, and when it is back everywhere', async () => {
  const { ada, bob, bot, id } = await cast()
  const a = await scene.join(ada, id, 0)
  const b = await scene.join(bob, id, 1)
  const agent = await scene.connect(bot, 0)
  const answer = await stream(agent, id)
  const { messageId } = answer
  await answer.write(TEXT, 100)
  await until(() => streamed(b, messageId).text.length === 100)
  await scene.stack.kill('redis-0')
  try {
    await answer.write(TEXT, 200)
    await until(() => streamed(a, messageId).text.length === 200)
    expect(streamed(b, messageId).text.length).toBe(100)
  } finally {
    await scene.stack.start('redis-0')
  }
  await until(() => streamed(b, messageId).text.length === 200, { timeoutMs: 15_000 })
  await answer.write(TEXT)
  await answer.end()
  for (const listener of [a, b]) {
    expect(await listener.first('message:updated', { id: messageId })).toMatchObject({ content: TEXT })
    expect(streamed(listener, messageId).text).toBe(TEXT)
  }
})
