import { once } from 'node:events'
import { createServer } from 'node:http'
import { Redis } from 'ioredis'
import * as library from 'ws'

type FrameSender = { sendFrame(frame: Buffer[]): void }
const { WebSocket, WebSocketServer } = library
// Exported by the library, yet not in its types.
const { Sender } = library as typeof library & {
  Sender: { frame(data: Buffer, options: object): Buffer[] }
}

/**
 * The least that a server can do: a loop over websockets that sends each the same frame, encoded once. `POST /send?n=…`
 * says how many frames of the body's text go out, at `rate` per second. With `STREAM`, what that stream of `REDIS_URL`
 * brings goes out as well.
 */
const server = createServer((request, response) => {
  const url = new URL(request.url ?? '/', 'http://localhost')
  const chunks: Buffer[] = []
  request.on('data', (chunk: Buffer) => chunks.push(chunk))
  request.on('end', () => {
    send(Buffer.concat(chunks), Number(url.searchParams.get('n')), Number(url.searchParams.get('rate'))).then(
      () => response.end(),
    )
  })
})
const sockets = new WebSocketServer({ server, perMessageDeflate: false })

const isSender = (value: unknown): value is FrameSender =>
  typeof value === 'object' && value !== null && 'sendFrame' in value

const senderOf = (socket: object): FrameSender | null =>
  '_sender' in socket && isSender(socket._sender) ? socket._sender : null

async function send(text: Buffer, count: number, rate: number): Promise<void> {
  const start = performance.now()
  for (let sent = 0; sent < count; ) {
    const due = Math.min(count, Math.floor(((performance.now() - start) * rate) / 1_000))
    for (; sent < due; sent++) sendToAll(text)
    await new Promise((resolve) => setTimeout(resolve, Math.max(1, 500 / rate)))
  }
}

function sendToAll(text: Buffer): void {
  const frame = Sender.frame(text, { readOnly: false, mask: false, rsv1: false, opcode: 1, fin: true })
  for (const socket of sockets.clients) {
    if (socket.readyState !== WebSocket.OPEN) continue
    senderOf(socket)?.sendFrame(frame)
  }
}

async function follow(redis: Redis, stream: string): Promise<void> {
  for (let cursor = '$'; ; ) {
    const reply = await redis.xread('COUNT', 500, 'BLOCK', 1_000, 'STREAMS', stream, cursor)
    for (const [id, fields] of reply?.[0]?.[1] ?? []) {
      cursor = id
      sendToAll(Buffer.from(fields[1] ?? ''))
    }
  }
}

const { REDIS_URL, STREAM } = process.env
if (REDIS_URL !== undefined && STREAM !== undefined) void follow(new Redis(REDIS_URL), STREAM)

server.listen(0, '127.0.0.1')
await once(server, 'listening')
const address = server.address()
process.stdout.write(`${typeof address === 'object' ? address?.port : ''}\n`)
process.stdin.on('end', () => process.exit(0)).resume()
