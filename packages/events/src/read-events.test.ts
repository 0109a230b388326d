import { LIMITS, PUBLISHED_EVENTS, type PublishedEvent, type PublishedEventType } from '@parley/contract'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { encodeEntry } from './entries.ts'
import { type Batch, readEvents, type Wants } from './read-events.ts'
import { createReader, type Reply } from './resp.ts'
import { encodeReply } from './testing/reply.ts'

const types = Object.keys(PUBLISHED_EVENTS) as PublishedEventType[]
const text = fc.string({ unit: 'grapheme' })
const event: fc.Arbitrary<PublishedEvent> = fc.record(
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

function read(entries: Reply[], wants: Wants = () => true): Batch {
  return readEvents(createReader(Buffer.from(encodeReply([['events:{0}', entries]]))), wants)
}
const readOne = (fields: string[]) => read([['7-1', fields]])
const asRead = (written: PublishedEvent) => readOne(encodeEntry(written).map(String)).events[0]

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
  const base: PublishedEvent = { type: 'message.created', org: 'o', cid: 'c', seq: 3 }
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
  expect(readOne(fields).events).toEqual([{ at: '7-1', type: 'message.created', org: 'o', cid: 'c', seq: 3 }])
})

test('no entry makes the reader throw', () => {
  const names = fc.constantFrom('v', 'type', 'org', 'cid', 'seq', 'change', 'to', 'data', '__proto__')
  const values = fc.oneof(text, fc.constantFrom('1', 'message.created', '{', '[1,"user:a"]', 'toString'))
  fc.assert(
    fc.property(fc.array(fc.tuple(names, values)), (pairs) => {
      const { count, events, unknown } = readOne(pairs.flat())
      expect([count, events.length + unknown.length]).toEqual([1, 1])
      for (const { type } of events) expect(types).toContain(type)
    }),
  )
  expect(readOne(['v', '1', 'type', 'toString']).unknown).toEqual(['7-1'])
  expect(readOne(['v', '1', 'type', 'message.created', 'seq', 'x']).unknown).toEqual(['7-1'])
})

const entry = (id: string, org: string, cid: string, seq: number): Reply => [
  id,
  encodeEntry({ type: 'message.created', org, cid, seq, data: '{"content":"cid"}' }).map(String),
]

test('only wanted entries of a stream are parsed, and all are counted', () => {
  const entries = [entry('1-1', 'ö', 'a', 1), entry('1-2', 'x', 'b', 2), entry('2-0', 'x', 'c', 3)]
  const asked: string[] = []
  const { count, last, events } = read(entries, (org, cid) => {
    asked.push(`${org} ${cid}`)
    return org === 'ö' || cid === 'b'
  })
  expect(asked).toEqual(['ö a', 'x b', 'x c'])
  expect([count, last]).toEqual([3, '2-0'])
  expect(events).toMatchObject([
    { at: '1-1', org: 'ö', cid: 'a', seq: 1 },
    { at: '1-2', org: 'x', cid: 'b', seq: 2 },
  ])
})

test('an entry that does not name its conversation counts as wanted', () => {
  expect(read([['1-1', ['type', 'other', 'v', '9']]], () => false).unknown).toEqual(['1-1'])
})

test('a read without entries in time brings nothing', () => {
  const nothing = readEvents(createReader(Buffer.from('*-1\r\n')), () => true)
  expect(nothing).toEqual({ count: 0, last: undefined, events: [], unknown: [] })
})
