import { CHAT_NAMESPACE } from '@parley/contract'
import { Encoder, PacketType } from 'socket.io-parser'
import { describe, expect, it } from 'vitest'
import { parser } from './parser.ts'

const encoder = new parser.Encoder()
const ack = (id: number, body: object) => ({ type: PacketType.ACK, nsp: CHAT_NAMESPACE, id, data: [body] })

describe('the encoder of acknowledgements', () => {
  it.each([
    { ok: true },
    { ok: true, lists: [], nested: { list: [1, 'two', null], none: undefined }, left: undefined },
    { ok: true, messages: [{ content: 'quo"te\u2028 \ud83c\udf0a \ud83c' }], '"odd"': null, not: Number.NaN },
  ])('writes what Socket.IO itself would write: %j', (body) => {
    expect(encoder.encode(ack(7, body))).toEqual(new Encoder().encode(ack(7, body)))
  })

  it('serialises a list once for all that get it', () => {
    let reads = 0
    const messages = [{ toJSON: () => `message ${++reads}` }]
    const texts = [1, 2].flatMap((id) => encoder.encode(ack(id, { ok: true, id, messages })))
    expect(texts).toEqual([
      `3${CHAT_NAMESPACE},1[{"ok":true,"id":1,"messages":["message 1"]}]`,
      `3${CHAT_NAMESPACE},2[{"ok":true,"id":2,"messages":["message 1"]}]`,
    ])
  })

  it('leaves all other packets as they are', () => {
    const event = { type: PacketType.EVENT, nsp: CHAT_NAMESPACE, data: ['typing', { list: [1] }] }
    expect(encoder.encode(event)).toEqual(new Encoder().encode(event))
  })
})
