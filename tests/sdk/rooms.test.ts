import { createParley, type Message, type Parley, type Room } from '@parley/client'
import { type Stack, startStack } from '@parley/devstack'
import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest'

let stack: Stack
const clients: Parley[] = []

beforeAll(async () => {
  stack = await startStack({ apis: 2, gateways: 2, workers: 0, supervise: true })
})
afterEach(() => {
  for (const client of clients.splice(0)) client.close()
})
afterAll(() => stack.close())

const ORG = 'sdk'

/** A person, whose first gateway is the one named. */
function person(sub: string, gateway = 0): Parley {
  const gatewayUrls = [...stack.gatewayUrls.slice(gateway), ...stack.gatewayUrls.slice(0, gateway)]
  const token = stack.token({ sub, orgId: ORG, name: sub })
  const client = createParley({ apiUrl: stack.apiUrls, gatewayUrls, token })
  clients.push(client)
  return client
}

async function conversationOf(owner: Parley, ...others: string[]): Promise<string> {
  const participants = others.map((id) => ({ type: 'user' as const, id, role: 'member' as const }))
  const { id } = await owner.conversations.create({ title: 'A talk', participants })
  return id
}

function collect(room: Room): Message[] {
  const seen: Message[] = []
  room.on('message:new', (message) => seen.push(message))
  return seen
}
const texts = (messages: Message[]) => messages.map(({ content }) => content)

it('brings what one writes on one gateway to another on the other, in order', async () => {
  const [ada, bob] = [person('ada', 0), person('bob', 1)]
  const id = await conversationOf(ada, 'bob')
  const heard = collect(bob.conversation(id))
  await Promise.all([ada.conversation(id).join(), bob.conversation(id).join()])
  const said = Array.from({ length: 30 }, (_, i) => `line ${i + 1}`)
  await Promise.all(said.map((line) => ada.conversation(id).send(line)))
  await eventually(() => expect(texts(heard)).toEqual(said))
})

it('misses nothing when its gateway is killed, and goes on at the other one', async () => {
  const [ada, bob] = [person('ada', 1), person('bob', 0)]
  const id = await conversationOf(ada, 'bob')
  const heard = collect(bob.conversation(id))
  await Promise.all([ada.conversation(id).join(), bob.conversation(id).join()])
  const said = Array.from({ length: 60 }, (_, i) => `line ${i + 1}`)
  const sending = (async () => {
    for (const line of said) await ada.conversation(id).send(line)
  })()
  await eventually(() => expect(heard.length).toBeGreaterThan(5))
  await stack.kill('gateway-0')
  await sending
  await eventually(() => expect(texts(heard)).toEqual(said))
  await stack.waitReady()
})

it('sends by REST while no gateway is there', async () => {
  const ada = createParley({
    apiUrl: stack.apiUrls,
    gatewayUrl: 'http://127.0.0.1:9',
    token: stack.token({ sub: 'ada', orgId: ORG }),
  })
  clients.push(ada)
  const id = await conversationOf(ada)
  await expect(ada.conversation(id).send('over the other road')).resolves.toMatchObject({ seq: 1 })
})

it('resumes a conversation of hundreds from where it was left', async () => {
  const [ada, bob] = [person('ada', 0), person('bob', 1)]
  const id = await conversationOf(ada, 'bob')
  for (let i = 0; i < 8; i++) {
    await Promise.all(
      Array.from({ length: 30 }, (_, j) =>
        ada.messages.create({
          conversationId: id,
          role: 'user',
          content: `m${i * 30 + j}`,
          clientMessageId: `m${i * 30 + j}`,
        }),
      ),
    )
  }
  const heard = collect(bob.conversation(id))
  await bob.conversation(id).join({ afterSeq: 20 })
  await eventually(() => expect(heard.map(({ seq }) => seq)).toEqual(range(21, 240)))
  await ada.conversation(id).send('and one more')
  await eventually(() => expect(heard.at(-1)).toMatchObject({ seq: 241, content: 'and one more' }))
})

it('shows deletions, read positions and typing', async () => {
  const [ada, bob] = [person('ada', 0), person('bob', 1)]
  const id = await conversationOf(ada, 'bob')
  const [mine, theirs] = [ada.conversation(id), bob.conversation(id)]
  const events: unknown[] = []
  theirs.on('message:deleted', ({ seq, content }) => events.push({ deleted: seq, content }))
  theirs.on('message:receipt', ({ participantId, readSeq }) => {
    if (participantId === 'ada' && readSeq === 2) events.push({ read: readSeq })
  })
  theirs.on('user:typing', ({ participantId, isTyping }) => events.push({ typing: participantId, isTyping }))
  await Promise.all([mine.join(), theirs.join()])
  const first = await mine.send('a slip')
  await theirs.send('what?')
  await mine.read(2)
  mine.typing()
  await ada.messages.delete(first.id)
  await eventually(() => {
    expect(events).toContainEqual({ deleted: 1, content: '' })
    expect(events).toContainEqual({ read: 2 })
    expect(events).toContainEqual({ typing: 'ada', isTyping: true })
  })
})

it('learns of a conversation that it is added to, and of its removal', async () => {
  const [ada, bob] = [person('ada', 0), person('bob', 1)]
  await bob.connect()
  const added = new Promise((resolve) =>
    bob.once('conversation:added', ({ conversation }) => resolve(conversation.id)),
  )
  const id = await conversationOf(ada)
  await ada.participants.add(id, { type: 'user', id: 'bob' })
  await expect(added).resolves.toBe(id)
  const room = bob.conversation(id)
  await room.join()
  await ada.participants.remove(id, { type: 'user', id: 'bob' })
  await eventually(() => expect(room.state).toBe('removed'))
  await expect(room.send('am I still here?')).rejects.toMatchObject({ code: 'not_found' })
})

it('stays on through the end of its token', async () => {
  const ada = createParley({
    apiUrl: stack.apiUrls,
    gatewayUrls: stack.gatewayUrls,
    token: () => stack.token({ sub: 'ada', orgId: ORG, expiresIn: 3 }),
  })
  clients.push(ada)
  const id = await conversationOf(ada)
  const heard = collect(ada.conversation(id))
  await ada.conversation(id).join()
  const states: string[] = []
  ada.on('state', (state) => states.push(state))
  const expiry = Date.now() + 3_500
  await vi.waitFor(() => expect(Date.now()).toBeGreaterThan(expiry), { interval: 100 })
  await ada.conversation(id).send('still here')
  await eventually(() => expect(texts(heard)).toEqual(['still here']))
  expect(states).not.toContain('failed')
})

it('goes on with another token after the one it had was revoked', async () => {
  const boss = createParley({
    apiUrl: stack.apiUrls,
    gatewayUrls: stack.gatewayUrls,
    token: stack.token({ sub: 'boss', orgId: ORG, roles: ['admin'] }),
  })
  // Issued right behind the revocation: within the same second.
  const dan = createParley({
    apiUrl: stack.apiUrls,
    gatewayUrls: stack.gatewayUrls,
    token: () => stack.token({ sub: 'dan', orgId: ORG }),
  })
  clients.push(boss, dan)
  const id = await conversationOf(boss, 'dan')
  const room = dan.conversation(id)
  const heard = collect(room)
  await room.join()
  const away = new Promise((resolve) => dan.once('disconnected', resolve))
  await vi.waitFor(() => expect(Date.now() % 1_000).toBeLessThan(200), { timeout: 2_000, interval: 10 })
  await boss.revoke({ type: 'user', id: 'dan' })
  await away
  const sent = await room.send('It was only my token.')
  await boss.conversation(id).send('So it was.')
  await eventually(() => expect(texts(heard)).toEqual([sent.content, 'So it was.']))
  expect([dan.state, room.state]).toEqual(['connected', 'live'])
})

it('keeps people out of what is not theirs', async () => {
  const [ada, eve] = [person('ada'), person('eve')]
  const id = await conversationOf(ada)
  await expect(eve.conversation(id).join()).rejects.toMatchObject({ code: 'not_found' })
  await expect(eve.conversation(id).send('let me in')).rejects.toMatchObject({ code: 'not_found' })
  await expect(eve.messages.list(id)).rejects.toMatchObject({ code: 'not_found', status: 404 })
})

const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i)

/** The machine may be busy with other tests: a condition gets all the time that it could need. */
const eventually = (check: () => void) => vi.waitFor(check, { timeout: 20_000, interval: 20 })
