import { type Agent, createAgent, createParley, type Message, type Parley } from '@parley/client'
import { type Stack, startStack } from '@parley/devstack'
import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest'

let stack: Stack
const closing: (() => Promise<void> | void)[] = []

beforeAll(async () => {
  stack = await startStack({ gateways: 2, workers: 0, supervise: true })
})
afterEach(async () => {
  for (const close of closing.splice(0)) await close()
})
afterAll(() => stack.close())

const ORG = 'agents'
let count = 0

function person(sub: string): Parley {
  const token = stack.token({ sub, orgId: ORG })
  const client = createParley({ apiUrl: stack.apiUrl, gatewayUrls: stack.gatewayUrls, token })
  closing.push(() => client.close())
  return client
}

/** Each test has an agent of its own; it begins on the second gateway, people on the first. */
function newAgent(): { agent: Agent; id: string; errors: Error[] } {
  count += 1
  const id = `agent-${count}`
  const agent = createAgent({
    apiUrl: stack.apiUrl,
    gatewayUrls: stack.gatewayUrls.toReversed(),
    token: stack.token({ sub: id, type: 'agent', orgId: ORG }),
  })
  const errors: Error[] = []
  agent.on('error', ({ error }) => errors.push(error))
  closing.push(() => agent.stop())
  return { agent, id, errors }
}

/**
 * A person's view of a conversation with the agent: messages in their latest state, and answers as they were written.
 */
async function talk(agentId?: string) {
  const ada = person('ada')
  const { id } = await ada.conversations.create({ title: 'A question', ...(agentId && { agentId }) })
  const room = ada.conversation(id)
  const messages = new Map<number, Message>()
  const written: string[] = []
  const show = (message: Message) => messages.set(message.seq, message)
  room.on('message:new', show)
  room.on('message:updated', show)
  room.on('message:stream', ({ op, content }) => {
    if (op === 'delta' || op === 'snapshot') written.push(content)
  })
  await room.join({ afterSeq: 0 })
  return { ada, room, messages, written }
}

it('streams an answer, letter by letter, with its cost', async () => {
  const { agent, id, errors } = newAgent()
  let arrived = (_text: string) => Promise.resolve()
  agent.onMessage(async (message, { stream }) => {
    const answer = stream({ model: 'm' })
    let text = ''
    for (const word of ['You ', 'said: ', message.content, ' 🎭']) {
      answer.write(word)
      text += word
      await arrived(text)
    }
    const stored = await answer.end({ usage: { inputTokens: 600, outputTokens: 400 } })
    expect(stored).toMatchObject({ status: 'sent', cost: 0.002, model: 'm' })
  })
  await agent.start()
  const { room, messages, written } = await talk(id)
  arrived = (text) => eventually(() => expect(written.at(-1)).toBe(text))
  await room.send('hello')
  await eventually(() =>
    expect(messages.get(2)).toMatchObject({ status: 'sent', content: 'You said: hello 🎭' }),
  )
  expect(messages.get(2)).toMatchObject({ role: 'assistant', cost: 0.002, parentId: messages.get(1)?.id })
  expect(written).toEqual(['You ', 'You said: ', 'You said: hello', 'You said: hello 🎭'])
  expect(errors).toEqual([])
})

it('answers what was written while it was away, once', async () => {
  const { agent, id } = newAgent()
  const { room, messages } = await talk(id)
  await room.send('is anybody there?')
  agent.onMessage((message, { reply }) => reply(`re: ${message.content}`).then(() => undefined))
  await agent.start()
  await eventually(() => expect(messages.get(2)?.content).toBe('re: is anybody there?'))
  await room.send('good')
  await eventually(() => expect(messages.get(4)?.content).toBe('re: good'))
  expect(messages.size).toBe(4)
})

it('answers where it is added later, from then on', async () => {
  const { agent, id, errors } = newAgent()
  agent.onMessage((message, { reply }) => reply(`re: ${message.content}`).then(() => undefined))
  const { ada, room, messages } = await talk()
  await room.send('among ourselves')
  await agent.start()
  await ada.participants.add(room.id, { type: 'agent', id })
  await room.send('welcome')
  await eventually(() => expect(messages.get(3)).toMatchObject({ participantId: id, content: 're: welcome' }))
  const answered = [...messages.values()].filter(({ participantId }) => participantId === id)
  expect(answered.map(({ parentId }) => parentId)).toEqual([messages.get(2)?.id])
  expect(errors).toEqual([])
})

it('answers what was written while it was away also where many took part before it', async () => {
  const { agent, id } = newAgent()
  const { ada, room, messages } = await talk()
  for (let n = 0; n < 20; n++) await ada.participants.add(room.id, { type: 'user', id: `reader-${n}` })
  await ada.participants.add(room.id, { type: 'agent', id })
  await room.send('is anybody there?')
  agent.onMessage((message, { reply }) => reply(`re: ${message.content}`).then(() => undefined))
  await agent.start()
  await eventually(() => expect(messages.get(2)?.content).toBe('re: is anybody there?'))
})

it.for([
  ['is there', false],
  ['was just killed', true],
] as const)(
  'stops when a participant cancels whose gateway %s, and keeps what was written',
  async ([, killed]) => {
    const { agent, id, errors } = newAgent()
    const aborted = Promise.withResolvers<string>()
    agent.onMessage(async (_message, { stream, signal }) => {
      const answer = stream()
      while (!signal.aborted) {
        answer.write('on and ')
        await new Promise((resolve) => setTimeout(resolve, 30))
      }
      aborted.resolve(answer.text)
    })
    await agent.start()
    const { room, messages, written } = await talk(id)
    await room.send('tell me everything')
    await eventually(() => expect(written.length).toBeGreaterThan(2))
    const answer = messages.get(2)
    if (!answer) throw new Error('no answer')
    if (killed) await stack.kill('gateway-0')
    await room.cancel(answer.id)
    const text = await aborted.promise
    await eventually(() => expect(messages.get(2)?.status).toBe('cancelled'))
    expect(text.startsWith(messages.get(2)?.content ?? '-')).toBe(true)
    expect(messages.get(2)?.content).toContain('on and ')
    expect(errors).toEqual([])
    if (killed) await stack.waitReady()
  },
)

it('goes on with its answer after its gateway was killed', async () => {
  const { agent, id, errors } = newAgent()
  const words = Array.from({ length: 40 }, (_, i) => `${i} `)
  agent.onMessage(async (_message, { stream }) => {
    const answer = stream()
    for (const word of words) {
      answer.write(word)
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    await answer.end()
  })
  await agent.start()
  const { room, messages, written } = await talk(id)
  await room.send('count')
  await eventually(() => expect(written.length).toBeGreaterThan(2))
  await stack.kill('gateway-1')
  await eventually(() => expect(messages.get(2)?.status).toBe('sent'))
  expect(messages.get(2)?.content).toBe(words.join(''))
  for (const text of written) expect(words.join('').startsWith(text)).toBe(true)
  expect(errors).toEqual([])
  await stack.waitReady()
})

/** The machine may be busy with other tests: a condition gets all the time that it could need. */
const eventually = (check: () => void) => vi.waitFor(check, { timeout: 20_000, interval: 20 })
