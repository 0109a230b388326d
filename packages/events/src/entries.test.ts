import { LIMITS, STREAM_EVENTS, type StreamEvent, type StreamEventType } from '@parley/contract'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { compareIds, decodeEntry, encodeEntry } from './entries.ts'

const types = Object.keys(STREAM_EVENTS) as StreamEventType[]
const text = fc.string({ unit: 'grapheme' })
const event: fc.Arbitrary<StreamEvent> = fc.record(
  {
    type: fc.constantFrom(...types),
    org: text,
    cid: text,
    seq: fc.nat(),
    change: fc.nat(),
    to: fc.array(text.map((id) => `user:${id}`)),
    data: fc.json(),
  },
  { requiredKeys: ['type', 'org', 'cid'] },
)
const asRead = (written: StreamEvent) => decodeEntry('7-1', encodeEntry(written).map(String))

test('an event is read as it was written', () => {
  fc.assert(
    fc.property(event, (written) => {
      const small = (written.data?.length ?? 0) * 3 <= LIMITS.eventBytes
      const { data: _, ...envelope } = written
      expect(asRead(written)).toEqual({ at: '7-1', ...(small ? written : envelope) })
    }),
  )
})

test('data of more than 8 KiB is left out, counted in bytes', () => {
  const base: StreamEvent = { type: 'message.created', org: 'o', cid: 'c', seq: 3 }
  const withData = (data: string) => asRead({ ...base, data })?.data
  expect(withData('a'.repeat(LIMITS.eventBytes))).toHaveLength(LIMITS.eventBytes)
  expect(withData('a'.repeat(LIMITS.eventBytes + 1))).toBeUndefined()
  expect(withData('ü'.repeat(LIMITS.eventBytes / 2))).toBeDefined()
  expect(withData('ü'.repeat(LIMITS.eventBytes / 2 + 1))).toBeUndefined()
})

test('an entry of another version keeps its envelope and loses its data', () => {
  const fields = [
    'v',
    '2',
    'type',
    'message.created',
    'org',
    'o',
    'cid',
    'c',
    'seq',
    '3',
    'data',
    '{}',
    'new',
    'x',
  ]
  expect(decodeEntry('1-1', fields)).toEqual({
    at: '1-1',
    type: 'message.created',
    org: 'o',
    cid: 'c',
    seq: 3,
  })
})

test('no entry makes the reader throw', () => {
  const names = fc.constantFrom('v', 'type', 'org', 'cid', 'seq', 'change', 'to', 'data', '__proto__')
  const values = fc.oneof(text, fc.constantFrom('1', 'message.created', '{', '[1,"user:a"]', 'toString'))
  fc.assert(
    fc.property(fc.array(fc.tuple(names, values)), (pairs) => {
      const read = decodeEntry('1-1', pairs.flat())
      if (read) expect(types).toContain(read.type)
    }),
  )
  expect(decodeEntry('1-1', ['v', '1', 'type', 'toString'])).toBeNull()
  expect(decodeEntry('1-1', ['v', '1', 'type', 'message.created', 'seq', 'x'])).toBeNull()
})

test('entry ids are ordered by time, then number', () => {
  const id = fc.tuple(fc.nat({ max: 2 ** 45 }), fc.nat())
  fc.assert(
    fc.property(id, id, (a, b) => {
      const expected = a[0] - b[0] || a[1] - b[1]
      expect(Math.sign(compareIds(a.join('-'), b.join('-')))).toBe(Math.sign(expected))
    }),
  )
})
