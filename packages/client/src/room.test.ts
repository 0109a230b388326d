import type { ClientResult } from '@parley/contract'
import { expect, it, vi } from 'vitest'
import { ParleyError } from './errors.ts'
import { stubRoom } from './testing/stub-room.ts'
import { raceSignal } from './timing.ts'

const joined: ClientResult<'conversation:join'> = {
  lastSeq: 5,
  changeSeq: 0,
  readSeq: 0,
  unread: 0,
  messages: [],
  hasMore: false,
  changes: [],
  receipts: [],
  online: { users: [], agents: [] },
}

/** A room on a connection whose joins are answered when the test says so. */
function setUp() {
  const acknowledge = Promise.withResolvers<typeof joined>()
  const asked: string[] = []
  const { room, world } = stubRoom((event, _payload, signal) => {
    asked.push(event)
    return raceSignal(acknowledge.promise, signal)
  })
  for (let i = 0; i < 7; i++) world.append({ clientMessageId: null })
  const seen: number[] = []
  room.on('message:new', ({ seq }) => seen.push(seq))
  const receive = () => {
    for (const message of world.messages.slice(5)) {
      room.receive('message:new', { ...message, prevSeq: message.seq - 1 })
    }
  }
  return { room, world, seen, asked, receive, acknowledge: () => acknowledge.resolve(joined) }
}

it('does not take what arrives in one packet with the acknowledgement of its join for a gap', async () => {
  const { room, seen, acknowledge, receive } = setUp()
  const joining = room.join()
  await Promise.resolve()
  await Promise.resolve()
  acknowledge()
  receive()
  await joining
  expect(seen).toEqual([6, 7])
  expect(room.state).toBe('live')
})

it('hands out nothing before it is joined, though a try got no answer: it would fetch all from the beginning', async () => {
  let tries = 0
  const { room, world } = stubRoom(() => {
    tries += 1
    return tries === 1 ? Promise.reject(new ParleyError('network', 'no answer')) : Promise.resolve(joined)
  })
  const states: string[] = []
  room.on('state', (state) => states.push(state))
  const joining = room.join()
  await vi.waitFor(() => expect(tries).toBe(1))
  await Promise.resolve()
  for (let i = 0; i < 5; i++) world.append({ clientMessageId: null })
  for (const message of world.messages.slice(4)) room.receive('message:new', { ...message, prevSeq: 4 })
  await joining
  expect(states).toEqual(['joining', 'live'])
  expect(room.position.seq).toBe(5)
})

it('joins for a caller who asks at the moment another gives up', async () => {
  const { room, seen, acknowledge, receive } = setUp()
  const stop = new AbortController()
  const first = room.join({ signal: stop.signal })
  stop.abort()
  const second = room.join({ signal: new AbortController().signal })
  await expect(first).rejects.toMatchObject({ code: 'aborted' })
  acknowledge()
  await expect(second).resolves.toBe(joined)
  receive()
  expect([room.state, ...seen]).toEqual(['live', 6, 7])
})

it('joins for a caller who still waits although another gave up', async () => {
  const { room, seen, asked, acknowledge, receive } = setUp()
  const stop = new AbortController()
  const first = room.join({ signal: stop.signal })
  const second = room.join()
  await vi.waitFor(() => expect(asked).toEqual(['conversation:join']))
  stop.abort()
  await expect(first).rejects.toMatchObject({ code: 'aborted' })
  acknowledge()
  await expect(second).resolves.toBe(joined)
  receive()
  expect([room.state, ...seen]).toEqual(['live', 6, 7])
  expect(asked).toEqual(['conversation:join'])
})

it('leaves again where all who waited for it gave up', async () => {
  const { room, seen, asked, acknowledge, receive } = setUp()
  const stop = new AbortController()
  const joining = room.join({ signal: stop.signal })
  await vi.waitFor(() => expect(asked).toEqual(['conversation:join']))
  stop.abort()
  await expect(joining).rejects.toMatchObject({ code: 'aborted' })
  expect(room.state).toBe('out')
  expect(asked).toEqual(['conversation:join', 'conversation:leave'])
  acknowledge()
  receive()
  expect(seen).toEqual([])
  await room.join()
  expect(room.state).toBe('live')
})

it('leaves again where who waited for it gave up at what came with it', async () => {
  const { room, seen, asked, acknowledge, receive } = setUp()
  const stop = new AbortController()
  room.on('joined', () => stop.abort())
  acknowledge()
  await expect(room.join({ signal: stop.signal })).rejects.toMatchObject({ code: 'aborted' })
  receive()
  expect([room.state, ...seen]).toEqual(['out'])
  expect(asked).toEqual(['conversation:join', 'conversation:leave'])
})

it('stays for a caller who asks while another gives up over what came with the join', async () => {
  const { room, seen, asked, acknowledge, receive } = setUp()
  const stop = new AbortController()
  let second: Promise<unknown> | undefined
  room.once('joined', () => {
    stop.abort()
    second = room.join()
  })
  acknowledge()
  await expect(room.join({ signal: stop.signal })).rejects.toMatchObject({ code: 'aborted' })
  await expect(second).resolves.toBe(joined)
  receive()
  expect([room.state, ...seen]).toEqual(['live', 6, 7])
  expect(asked).toEqual(['conversation:join'])
})

it.each(['joined', 'message:new'] as const)('aborts a join left at its %s', async (event) => {
  const { room, acknowledge, receive } = setUp()
  room.on(event, () => void room.leave())
  const joining = room.join()
  await Promise.resolve()
  await Promise.resolve()
  acknowledge()
  receive()
  await expect(joining).rejects.toMatchObject({ code: 'aborted' })
  expect(room.state).toBe('out')
})

it('hands out nothing more, and counts nothing more as seen, from where a listener leaves on', async () => {
  const { room, world } = stubRoom((event) =>
    Promise.resolve(event === 'conversation:join' ? { ...joined, messages: world.messages } : { ok: true }),
  )
  for (let i = 0; i < 5; i++) world.append({ clientMessageId: null })
  const seen: (number | string)[] = []
  room.on('joined', () => seen.push('joined'))
  room.on('message:new', ({ seq }) => {
    seen.push(seq)
    if (seq === 3) void room.leave()
  })
  await expect(room.join({ afterSeq: 0 })).rejects.toMatchObject({ code: 'aborted' })
  expect(seen).toEqual([1, 2, 3])
  expect(room.position.seq).toBe(3)
  await room.join()
  expect(seen).toEqual([1, 2, 3, 4, 5, 'joined'])
})

it('ends a loop over messages that begins when the conversation is gone', async () => {
  const { room, acknowledge } = setUp()
  acknowledge()
  await room.join()
  room.receive('conversation:removed', { conversationId: room.id, reason: 'deleted' })
  expect(await room.messages().next()).toEqual({ done: true, value: undefined })
})

it('ends the typing of who does not say that they stopped', async () => {
  vi.useFakeTimers()
  try {
    const { room, world, acknowledge } = setUp()
    acknowledge()
    await room.join()
    const told: [string, boolean][] = []
    room.on('user:typing', ({ userId, isTyping }) => told.push([userId, isTyping]))
    const type = (id: string, isTyping = true) =>
      room.receive('user:typing', {
        conversationId: room.id,
        participantType: 'user',
        participantId: id,
        userId: id,
        isTyping,
      })
    type('bob')
    await vi.advanceTimersByTimeAsync(3_000)
    type('bob')
    await vi.advanceTimersByTimeAsync(5_999)
    expect(told.splice(0)).toEqual([
      ['bob', true],
      ['bob', true],
    ])
    await vi.advanceTimersByTimeAsync(1)
    type('bob', false)
    expect(told.splice(0)).toEqual([['bob', false]])
    type('ada')
    type('eve')
    room.receive('message:new', { ...world.append({ clientMessageId: null }), seq: 6, prevSeq: 5 })
    expect(told.splice(0)).toEqual([
      ['ada', true],
      ['eve', true],
      ['ada', false],
    ])
    await room.leave()
    expect(told).toEqual([['eve', false]])
    expect(vi.getTimerCount()).toBe(0)
  } finally {
    vi.useRealTimers()
  }
})

it('stays in a room that it follows where a further join is given up', async () => {
  const { room, seen, asked, acknowledge, receive } = setUp()
  acknowledge()
  await room.join()
  const stop = new AbortController()
  const joining = room.join({ signal: stop.signal })
  stop.abort()
  await expect(joining).rejects.toMatchObject({ code: 'aborted' })
  await vi.waitFor(() => expect(room.state).toBe('live'))
  receive()
  expect(seen).toEqual([6, 7])
  expect(asked).not.toContain('conversation:leave')
})
