import { expect, test, vi } from 'vitest'
import type { BusHandler } from '../bus/bus.ts'
import { createOutbound } from '../connection/outbound.ts'
import { createRooms, type Room } from '../delivery/rooms.ts'
import { createLifecycle } from '../lifecycle.ts'
import { createFakeSocket } from '../testing/fake-socket.ts'
import { createAggregates } from './aggregates.ts'
import { announcePresence } from './announce.ts'
import { createAudience } from './audience.ts'

function openRooms(count: number) {
  const outbound = createOutbound()
  const lifecycle = createLifecycle()
  const rooms = createRooms({ outbound })
  const audience = createAudience(lifecycle)
  const opened = Array.from({ length: count }, (_, i): Room => {
    const room = rooms.ensure(`room-${i}`)
    room.open({ orgId: 'acme', participants: ['user:ada', 'user:bob'] })
    lifecycle.emit('roomOpened', room)
    return room
  })
  return { outbound, lifecycle, rooms, audience, opened }
}

test('a socket that shares many rooms with somebody is told once that they came', () => {
  const { outbound, lifecycle, rooms, audience, opened } = openRooms(2)
  const { socket, written } = createFakeSocket()
  for (const room of opened) room.add(socket, { seq: 0, change: 0 })
  const handlers = new Map<string, BusHandler>()
  announcePresence({
    bus: { handle: (kind: string, handler: BusHandler) => void handlers.set(kind, handler) },
    outbound,
    audience,
    aggregates: createAggregates({ rooms, lifecycle, peopleIn: () => 0 }),
    rosters: { apply: vi.fn() },
  })
  const at = new Date(0).toISOString()
  const came = { orgId: 'acme', type: 'user', id: 'ada', status: 'online', at }
  handlers.get('presence')?.('presence', JSON.stringify([came]))
  expect(written.filter((text) => text.includes('presence:update'))).toHaveLength(1)
})

test('a closed room, or one that somebody left, no longer counts as theirs', () => {
  const { lifecycle, audience, opened } = openRooms(2)
  const [one, other] = opened as [Room, Room]
  expect([...audience.of('acme', 'user:bob')]).toEqual([one, other])
  one.participants.delete('user:bob')
  lifecycle.emit('participantsChanged', one)
  expect([...audience.of('acme', 'user:bob')]).toEqual([other])
  for (const room of opened) lifecycle.emit('roomClosed', room)
  for (const key of ['user:ada', 'user:bob']) expect(audience.of('acme', key).size).toBe(0)
})
