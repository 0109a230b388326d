import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { createFakeSocket } from '../testing/fake-socket.ts'
import { encodeFrame } from './frames.ts'
import { createOutbound } from './outbound.ts'

const KIB = 1024
const MIB = 1024 * KIB
const ROOM = '665f1c2ab1d4e8a3c9d0f1a2'
const frame = encodeFrame('message:new', '{"seq":1}')

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

function open() {
  let overflows = 0
  const outbound = createOutbound({ onOverflow: () => overflows++ })
  const { socket, below, written, queued } = createFakeSocket()
  const write = (conversationId: string | null, volatile = false) =>
    outbound.write(socket, [frame], frame.wire, conversationId, volatile)
  return {
    outbound,
    socket,
    below,
    written,
    queued,
    write,
    /** Writes a frame for a room while this many bytes wait; returns whether it went out. */
    goesOut(bufferedAmount: number, volatile = false): boolean {
      below.bufferedAmount = bufferedAmount
      const before = written.length
      write(ROOM, volatile)
      return written.length > before
    },
    get overflows() {
      return overflows
    },
  }
}

test('typing and presence are left out for a socket with 64 KiB to read, and messages are not', () => {
  const { goesOut } = open()
  expect([0, 64 * KIB, 64 * KIB + 1].map((waiting) => goesOut(waiting, true))).toEqual([true, true, false])
  expect(goesOut(64 * KIB + 1)).toBe(true)
})

test('a mebibyte may wait; a byte more brings one resync and ends the connection', () => {
  const client = open()
  expect(client.goesOut(MIB - frame.wire.length)).toBe(true)
  expect(client.goesOut(MIB - frame.wire.length + 1)).toBe(false)
  // However much it reads from now on, nothing more is sent: there would be a gap before it.
  expect(client.goesOut(0)).toBe(false)
  expect(client.outbound.mayAck(client.socket)).toBe(false)
  expect(client.queued).toEqual([`2/chat,["resync",{"conversationId":"${ROOM}","reason":"slow_reader"}]`])
  expect([client.overflows, client.below.ended]).toEqual([1, false])
  vi.advanceTimersByTime(10_000)
  expect(client.below.ended).toBe(true)
})

test('four thousand small packets may wait: all of them are counted before each further one', () => {
  const { outbound } = open()
  const { socket, backlog } = createFakeSocket()
  const fill = (count: number) => backlog.push(...Array.from({ length: count }, () => ({ data: 'x' })))
  fill(4_000)
  expect(outbound.mayAck(socket)).toBe(true)
  fill(100)
  expect(outbound.mayAck(socket)).toBe(false)
})

test('text counts by its bytes, whatever it is written in', () => {
  const { outbound } = open()
  const { socket, backlog } = createFakeSocket()
  // Three bytes to a character: 60 KiB each.
  const fill = (count: number) =>
    backlog.push(...Array.from({ length: count }, () => ({ data: '语'.repeat(20 * KIB) })))
  fill(16)
  expect(outbound.mayAck(socket)).toBe(true)
  fill(1)
  expect(outbound.mayAck(socket)).toBe(false)
})

test('an event that alone exceeds the bound goes to a socket that has read everything else', () => {
  const { outbound, socket, below, written } = open()
  const large = encodeFrame('message:new', JSON.stringify('x'.repeat(2 * MIB)))
  outbound.write(socket, [large], large.wire, ROOM)
  expect(written).toHaveLength(1)
  below.bufferedAmount = 1
  outbound.write(socket, [large], large.wire, ROOM)
  expect(written).toHaveLength(1)
})

test.for([
  ['a notice', ({ write }) => write(null)],
  [
    'an event to one socket',
    ({ outbound, socket }) => outbound.emit(socket, 'auth:expired', { code: 'token_expired' }),
  ],
  ['an answer', ({ outbound, socket }) => outbound.mayAck(socket)],
] satisfies [string, (client: ReturnType<typeof open>) => unknown][])(
  '%s that is too much belongs to no room: it brings the close, and no resync',
  ([, more]) => {
    const client = open()
    client.below.bufferedAmount = MIB
    expect(client.outbound.mayAck(client.socket)).toBe(true)
    client.below.bufferedAmount = MIB + 1
    more(client)
    expect([client.written, client.queued, client.overflows]).toEqual([[], [], 1])
    vi.advanceTimersByTime(10_000)
    expect(client.below.ended).toBe(true)
  },
)
