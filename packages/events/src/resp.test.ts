import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createReader, createSplitter, encodeCommand, type Reply } from './resp.ts'
import { encodeReply } from './testing/reply.ts'

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
      for (const piece of pieces(Buffer.from(replies.map(encodeReply).join('')), cuts)) split(piece)
      expect(seen).toEqual(replies)
    }),
  )
})

test('a command is counted in bytes', () => {
  expect(encodeCommand(['SET', 'ключ', 7])).toBe('*3\r\n$3\r\nSET\r\n$8\r\nключ\r\n$1\r\n7\r\n')
})
