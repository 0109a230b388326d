import { once } from 'node:events'
import { createServer } from 'node:net'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { changeFrame, newMessageFrame, numbersOf } from '../delivery/payloads.ts'
import { encodeFrame } from './frames.ts'

/** The messages that Node's own websocket client reads from bytes. */
const server = createServer((socket) => {
  socket.once('data', async (request) => {
    const key = /sec-websocket-key: (.+)\r\n/i.exec(request.toString())?.[1] ?? ''
    const digest = await crypto.subtle.digest(
      'SHA-1',
      new TextEncoder().encode(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`),
    )
    const accept = Buffer.from(digest).toString('base64')
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
    )
    for (const frame of frames) socket.write(frame)
  })
  socket.on('error', () => socket.destroy())
})
let frames: Buffer[] = []
beforeAll(async () => {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
})
afterAll(() => server.close())

async function received(sent: Buffer[], count: number): Promise<string[]> {
  frames = sent
  const address = server.address()
  const socket = new WebSocket(`ws://127.0.0.1:${typeof address === 'object' ? address?.port : 0}`)
  const texts: string[] = []
  await new Promise<void>((resolve, reject) => {
    socket.onerror = () => reject(new Error('not a frame'))
    socket.onmessage = ({ data }) => {
      if (texts.push(String(data)) === count) resolve()
    }
  })
  socket.close()
  return texts
}

describe('frames', () => {
  it('are read by a websocket client, with every header length, also several in one write', async () => {
    const texts = [0, 1, 90, 91, 92, 93, 94, 95, 96, 100, 5_000, 65_490, 65_500, 65_510, 65_540, 200_000]
      .map((length) => 'x'.repeat(length))
      .concat('äöü €', '👩‍🚀'.repeat(100), '"\\\n')
    const encoded = texts.map((text) => encodeFrame('resync', JSON.stringify(text)))
    const expected = texts.map((text) => `42/chat,["resync",${JSON.stringify(text)}]`)
    expect(await received([Buffer.concat(encoded.map(({ wire }) => wire))], texts.length)).toEqual(expected)
    expect(encoded.map(({ text }) => `4${text}`)).toEqual(expected)
  })

  it('add prevSeq to a message without reading it', () => {
    const message = JSON.stringify({ id: 'a', content: '}","x":{' })
    const { text } = newMessageFrame(message, 41)
    expect(JSON.parse(text.slice('2/chat,'.length))).toEqual([
      'message:new',
      { id: 'a', content: '}","x":{', prevSeq: 41 },
    ])
  })

  it('carry a conversation’s change with its number and the names of the changed fields', () => {
    const payload = { kind: 'conversation.updated', subject: '{"title":"t"}', changed: '["title"]' } as const
    expect(JSON.parse(changeFrame('c1', 7, payload).text.slice('2/chat,'.length))).toEqual([
      'conversation:updated',
      { conversationId: 'c1', changeSeq: 7, changed: ['title'], conversation: { title: 't' } },
    ])
  })

  it("a message's numbers are read correctly whatever its text says and however its fields are ordered", () => {
    fc.assert(
      fc.property(fc.string(), fc.nat(), fc.nat(), (text, seq, changeSeq) => {
        const content = `${text}"seq":9,"changeSeq":9`
        expect(numbersOf(JSON.stringify({ content, changeSeq, seq }))).toEqual({ seq, changeSeq })
      }),
    )
  })
})
