import { once } from 'node:events'
import WebSocket from 'ws'

type Answer = { ok: boolean } & Record<string, unknown>

/** A websocket that speaks Engine.IO by hand, for packets and silences that a client library would not produce. */
export interface RawSocket {
  ws: WebSocket
  readonly open: boolean
  /** Puts a text or binary frame on the wire as it is. */
  frame(data: string | Buffer): void
  /** Sends an event with an acknowledgement and waits for it. */
  request(event: string, payload: unknown): Promise<Answer>
  /** Stops reading: what the server sends stays in its buffers. */
  stopReading(): void
  close(): void
}

const address = (url: string) => `${url.replace(/^http/, 'ws')}/socket.io/?EIO=4&transport=websocket`

/** A websocket on which Engine.IO has said that it is open, and nobody has come in. */
export async function openConnection(url: string): Promise<WebSocket> {
  const ws = new WebSocket(address(url))
  await once(ws, 'message')
  // A client cut off while writing is told so.
  ws.on('error', () => undefined)
  return ws
}

export async function openRawSocket(url: string, token: string): Promise<RawSocket> {
  const ws = new WebSocket(address(url))
  const waiting = new Map<number, (answer: Answer) => void>()
  let nextId = 0
  const connected = Promise.withResolvers<void>()
  ws.on('error', (error) => connected.reject(error))
  ws.on('close', () => connected.reject(new Error('closed before the handshake was through')))
  ws.on('message', (data) => {
    const text = data.toString()
    if (text.startsWith('0')) ws.send(`40/chat,${JSON.stringify({ token })}`)
    else if (text === '2') ws.send('3')
    else if (text.startsWith('40/chat')) connected.resolve()
    else if (text.startsWith('44/chat')) connected.reject(new Error(`refused: ${text}`))
    else if (text.startsWith('43/chat,')) {
      const [, id, body] = /^43\/chat,(\d+)(.*)$/s.exec(text) ?? []
      const [answer]: Answer[] = JSON.parse(body ?? '[]')
      if (answer) waiting.get(Number(id))?.(answer)
      waiting.delete(Number(id))
    }
  })
  await connected.promise
  return {
    ws,
    get open() {
      return ws.readyState === WebSocket.OPEN
    },
    frame(data) {
      if (ws.readyState === WebSocket.OPEN) ws.send(data)
    },
    request(event, payload) {
      const id = nextId++
      ws.send(`42/chat,${id}${JSON.stringify([event, payload])}`)
      return new Promise((resolve) => waiting.set(id, resolve))
    },
    stopReading: () => ws.pause(),
    close: () => ws.terminate(),
  }
}
