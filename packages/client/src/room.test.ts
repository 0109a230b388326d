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
  return { room, seen, asked, receive, acknowledge: () => acknowledge.resolve(joined) }
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
