import type { Caller } from '@parley/contract'
import fc from 'fast-check'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { Bus, BusHandler } from '../bus/bus.ts'
import { createOutbound } from '../connection/outbound.ts'
import { createRoom } from '../delivery/room.ts'
import type { Rooms } from '../delivery/rooms.ts'
import { createLifecycle } from '../lifecycle.ts'
import { createFakeConversation } from '../testing/fake-api.ts'
import { createTyping } from './typing.ts'

const ada: Caller = { type: 'user', id: 'ada', orgId: 'acme', roles: ['member'], name: null, picture: null }
const bob: Caller = { ...ada, id: 'bob' }
const ROOM = '665f1c2ab1d4e8a3c9d0f1a2'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

/** A gateway's typing; `told` is what its room was told, `times` when, `sent` what other gateways were told. */
function open(gatewayId = 'here') {
  const told: string[] = []
  const times: number[] = []
  const sent: string[] = []
  let handler: BusHandler = () => undefined
  const bus: Pick<Bus, 'handle' | 'publish'> = {
    handle: (_kind, given) => {
      handler = given
    },
    publish: async (_channel, _kind, payload) => {
      sent.push(payload)
      return true
    },
  }
  const rooms: Pick<Rooms, 'emit'> = {
    emit: (_room, event, payload) => {
      if (event !== 'user:typing' || !('isTyping' in payload)) return
      told.push(`${payload.participantId} ${payload.isTyping}`)
      times.push(Date.now())
    },
  }
  const lifecycle = createLifecycle()
  const typing = createTyping({ bus, rooms, lifecycle, gatewayId, now: () => Date.now() })
  return {
    typing,
    lifecycle,
    told,
    times,
    sent,
    receive: (payload: string) => handler(`room:${ROOM}`, payload),
  }
}

test('typing is told at once, then at most once in 3 s, and ended once', () => {
  const { typing, told } = open()
  for (let i = 0; i < 10; i++) {
    typing.signal(ada, ROOM, true)
    vi.advanceTimersByTime(500)
  }
  expect(told).toEqual(['ada true', 'ada true'])
  typing.signal(ada, ROOM, false)
  typing.signal(ada, ROOM, false)
  expect(told).toEqual(['ada true', 'ada true', 'ada false'])
})

test('somebody who was never shown as typing is not told to have stopped; who goes silent is, once, after 6 s', () => {
  const { typing, told } = open()
  typing.signal(ada, ROOM, false)
  typing.signal(bob, ROOM, true)
  vi.advanceTimersByTime(5_999)
  expect(told).toEqual(['bob true'])
  vi.advanceTimersByTime(1)
  typing.signal(bob, ROOM, false)
  expect(told).toEqual(['bob true', 'bob false'])
})

test('other gateways are told the same, and a gateway does not tell its room twice', () => {
  const here = open('here')
  const there = open('there')
  here.typing.signal(ada, ROOM, true)
  for (const payload of here.sent) {
    here.receive(payload)
    there.receive(payload)
  }
  expect([here.told, there.told]).toEqual([['ada true'], ['ada true']])
})

test('somebody who stops and resumes within the 3 s is told as typing when these end, unless they stop again', () => {
  const { typing, told } = open()
  for (const isTyping of [true, false, true]) typing.signal(ada, ROOM, isTyping)
  vi.advanceTimersByTime(2_999)
  expect(told).toEqual(['ada true', 'ada false'])
  vi.advanceTimersByTime(1)
  expect(told).toEqual(['ada true', 'ada false', 'ada true'])
  for (const isTyping of [false, true, false]) typing.signal(ada, ROOM, isTyping)
  vi.advanceTimersByTime(10_000)
  expect(told).toEqual(['ada true', 'ada false', 'ada true', 'ada false'])
  expect(vi.getTimerCount()).toBe(0)
})

test('somebody who resumed and then sent the message is not told as typing, which concerns nobody else', () => {
  const { typing, lifecycle, told } = open()
  const conversation = createFakeConversation('acme', [ada, bob])
  const room = createRoom({
    conversationId: conversation.id,
    outbound: createOutbound(),
    onDirty: () => undefined,
  })
  for (const who of [ada, bob]) {
    for (const isTyping of [true, false, true]) typing.signal(who, conversation.id, isTyping)
  }
  const message = {
    ...conversation.add('by ada'),
    metadata: { participantType: 'user', participantId: 'bob' },
  }
  // In whatever order the api writes the fields.
  const entries = Object.entries(message).reverse()
  lifecycle.emit('message', room, JSON.stringify(Object.fromEntries(entries)))
  vi.advanceTimersByTime(3_000)
  expect(told.slice(4)).toEqual(['bob true'])
  typing.close()
})

test('however somebody types, 3 s hold at most one start, and what is told last is the truth', () => {
  const step = fc.record({ isTyping: fc.boolean(), afterMs: fc.nat(2_000) })
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 40 }), (steps) => {
      const { typing, told, times } = open()
      const begun = () => times.filter((_, n) => told[n] === 'ada true')
      for (const { isTyping, afterMs } of steps) {
        vi.advanceTimersByTime(afterMs)
        typing.signal(ada, ROOM, isTyping)
        if (isTyping || told.at(-1) !== 'ada true') continue
        // By now nobody who heard it still shows it.
        expect(Date.now() - (begun().at(-1) ?? 0)).toBeGreaterThanOrEqual(6_000)
      }
      vi.advanceTimersByTime(3_000)
      if (steps.at(-1)?.isTyping) expect(told.at(-1)).toBe('ada true')
      begun()
        .slice(1)
        .forEach((at, n) => {
          expect(at - (begun()[n] ?? 0)).toBeGreaterThanOrEqual(3_000)
        })
      typing.close()
      expect(vi.getTimerCount()).toBe(0)
    }),
  )
})

test('nobody who was heard of in the last six seconds is told to have stopped', () => {
  const { typing, told } = open()
  typing.signal(ada, ROOM, true)
  vi.advanceTimersByTime(2_900)
  typing.signal(ada, ROOM, true)
  vi.advanceTimersByTime(5_900)
  expect(told).toEqual(['ada true', 'ada true'])
  vi.advanceTimersByTime(200)
  expect(told).toEqual(['ada true', 'ada true', 'ada false'])
})

test('who was silent for six seconds is told to have stopped, though it was told again meanwhile that they type', () => {
  const { typing, told } = open()
  typing.signal(ada, ROOM, true)
  vi.advanceTimersByTime(100)
  typing.signal(ada, ROOM, true)
  vi.advanceTimersByTime(5_900)
  expect(told).toEqual(['ada true', 'ada true'])
  vi.advanceTimersByTime(200)
  expect(told).toEqual(['ada true', 'ada true', 'ada false'])
})

test('who types on is not told to have stopped, though they said so twice at once', () => {
  const { typing, told } = open()
  for (const _ of [1, 2]) typing.signal(ada, ROOM, true)
  vi.advanceTimersByTime(4_000)
  typing.signal(ada, ROOM, true)
  vi.advanceTimersByTime(2_500)
  expect(told).toEqual(['ada true', 'ada true', 'ada true'])
})
