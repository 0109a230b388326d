import fc from 'fast-check'
import { expect, test } from 'vitest'
import { decodeEntry, encodeEntry, readEntries } from './entries.ts'
import { createReader, createSplitter, encodeCommand, type Reply } from './resp.ts'

/** As Redis writes it. */
function encode(value: Reply): string {
  if (value === null) return '*-1\r\n'
  if (value instanceof Error) return `-${value.message}\r\n`
  if (typeof value === 'number') return `:${value}\r\n`
  if (typeof value === 'string') return `$${Buffer.byteLength(value)}\r\n${value}\r\n`
  return `*${value.length}\r\n${value.map(encode).join('')}`
}

const text = fc.string({ unit: 'grapheme', maxLength: 40 }).map((some) => `${some}\r\n`)
const { reply } = fc.letrec<{ reply: Reply }>((tie) => ({
  reply: fc.oneof(
    { depthSize: 'small' },
    text,
    fc.integer(),
    fc.constant(null),
    fc.constant(new Error('ERR no such key')),
    fc.array(tie('reply'), { maxLength: 5 }),
  ),
}))

/** The bytes in pieces of these lengths, over and over. */
function pieces(bytes: Buffer, lengths: readonly number[]): Buffer[] {
  const all: Buffer[] = []
  for (let at = 0; at < bytes.length; ) {
    const length = lengths[all.length % lengths.length] ?? 1
    all.push(bytes.subarray(at, at + length))
    at += length
  }
  return all
}
const lengths = fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 10 })

test('answers are read as they were written, however they arrive', () => {
  fc.assert(
    fc.property(fc.array(reply, { minLength: 1, maxLength: 5 }), lengths, (replies, cuts) => {
      const seen: Reply[] = []
      const split = createSplitter((bytes) => seen.push(createReader(bytes).value()))
      for (const piece of pieces(Buffer.from(replies.map(encode).join('')), cuts)) split(piece)
      expect(seen).toEqual(replies)
    }),
  )
})

test('a command is counted in bytes', () => {
  expect(encodeCommand(['SET', 'ключ', 7])).toBe('*3\r\n$3\r\nSET\r\n$8\r\nключ\r\n$1\r\n7\r\n')
})

const entry = (id: string, org: string, cid: string, seq: number): Reply => [
  id,
  encodeEntry({ type: 'message.created', org, cid, seq, data: '{"content":"cid"}' }).map(String),
]
const stream = (entries: Reply[]): Buffer => Buffer.from(encode([['events:{0}', entries]]))

test('of a stream only what is wanted is taken apart, and all of it is counted', () => {
  const bytes = stream([entry('1-1', 'ö', 'a', 1), entry('1-2', 'x', 'b', 2), entry('2-0', 'x', 'c', 3)])
  const asked: string[] = []
  const read = readEntries(bytes, (org, cid) => {
    asked.push(`${org} ${cid}`)
    return org === 'ö' || cid === 'b'
  })
  expect(asked).toEqual(['ö a', 'x b', 'x c'])
  expect(read).toMatchObject({ count: 3, last: '2-0' })
  expect(read?.entries.map(([id, fields]) => decodeEntry(id, fields))).toMatchObject([
    { at: '1-1', org: 'ö', cid: 'a', seq: 1 },
    { at: '1-2', org: 'x', cid: 'b', seq: 2 },
  ])
})

test('an entry that does not say whose it is counts as wanted', () => {
  const bytes = stream([['1-1', ['type', 'other', 'v', '9']]])
  expect(readEntries(bytes, () => false)?.entries).toEqual([['1-1', ['type', 'other', 'v', '9']]])
})

test('nothing in time is nothing', () => {
  expect(readEntries(Buffer.from('*-1\r\n'), () => true)).toBeNull()
})
