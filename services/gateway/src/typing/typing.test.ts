import type { Caller } from '@parley/contract'
import fc from 'fast-check'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { Bus, BusHandler } from '../bus/bus.ts'
import type { Rooms } from '../delivery/rooms.ts'
import { createLifecycle } from '../lifecycle.ts'
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

/** A gateway's typing; `told` is what its room was told, `sent` what other gateways were. */
function open(gatewayId = 'here') {
  const told: string[] = []
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
    },
  }
  const typing = createTyping({ bus, rooms, lifecycle: createLifecycle(), gatewayId, now: () => Date.now() })
  return { typing, told, sent, receive: (payload: string) => handler(`room:${ROOM}`, payload) }
}

test('is told at once, then at most once in 3 s, and ended once', () => {
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

test('who was not told to be typing, or is not any more after 6 s, is not told to have stopped', () => {
  const { typing, told } = open()
  typing.signal(ada, ROOM, false)
  typing.signal(bob, ROOM, true)
  vi.advanceTimersByTime(6_001)
  typing.signal(bob, ROOM, false)
  expect(told).toEqual(['bob true'])
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

test('however somebody types, 3 s hold at most one beginning, and what is told last is how it is', () => {
  const step = fc.record({ isTyping: fc.boolean(), afterMs: fc.nat(2_000) })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const { typing, told } = open()
      const begun: number[] = []
      for (const { isTyping, afterMs } of steps) {
        vi.advanceTimersByTime(afterMs)
        const before = told.length
        typing.signal(ada, ROOM, isTyping)
        if (told.length > before && told.at(-1) === 'ada true') begun.push(Date.now())
        if (!isTyping)
          expect(told.at(-1) ?? 'ada false').toSatisfy(
            (last: string) => last === 'ada false' || Date.now() - (begun.at(-1) ?? 0) >= 6_000,
          )
      }
      begun.slice(1).forEach((at, i) => {
        expect(at - (begun[i] ?? 0)).toBeGreaterThanOrEqual(3_000)
      })
      typing.close()
    }),
  )
})
