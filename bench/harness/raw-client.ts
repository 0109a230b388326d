import WebSocket from 'ws'

/** An acknowledgement, taken apart only as far as somebody asks. */
export interface Answer {
  ok: boolean
  body(): Record<string, unknown>
}

/** A client that costs next to nothing: frames are counted, or handed on as they came. */
export interface RawClient {
  ws: WebSocket
  /** Frames received so far, the handshake's included. */
  readonly received: number
  request(event: string, payload: unknown): Promise<Answer>
  onFrame(handler: (frame: Buffer) => void): void
  close(): void
}

const PING = 0x32
const CONNECT = '40'
const ACK = '43'
const GRANTED = '[{"ok":true'

/** Connects to a Socket.IO namespace over a websocket; resolves once it is let in. */
export async function openRawClient(url: string, auth: object, namespace = '/chat'): Promise<RawClient> {
  const ws = new WebSocket(`${url.replace(/^http/, 'ws')}/socket.io/?EIO=4&transport=websocket`, {
    perMessageDeflate: false,
  })
  const prefix = namespace === '/' ? '' : `${namespace},`
  const waiting = new Map<number, (answer: Answer) => void>()
  const admitted = Promise.withResolvers<void>()
  let handler: ((frame: Buffer) => void) | null = null
  let received = 0
  let nextId = 0
  let open = false
  ws.on('error', (error) => admitted.reject(error))
  ws.on('close', () => admitted.reject(new Error('closed before it was let in')))
  ws.on('message', (data: Buffer) => {
    received++
    if (data.length === 1 && data[0] === PING) {
      ws.send('3')
      return
    }
    if (open && waiting.size === 0) {
      handler?.(data)
      return
    }
    const text = data.toString()
    if (text.startsWith('0')) ws.send(`${CONNECT}${prefix}${JSON.stringify(auth)}`)
    else if (text.startsWith(`${CONNECT}${prefix}`)) {
      open = true
      admitted.resolve()
    } else if (text.startsWith('44')) admitted.reject(new Error(`refused: ${text}`))
    else if (text.startsWith(`${ACK}${prefix}`)) {
      const start = text.indexOf('[')
      const id = Number(text.slice(ACK.length + prefix.length, start))
      waiting.get(id)?.({ ok: text.startsWith(GRANTED, start), body: () => JSON.parse(text.slice(start))[0] })
      waiting.delete(id)
    } else handler?.(data)
  })
  await admitted.promise
  return {
    ws,
    get received() {
      return received
    },
    request(event, payload) {
      const id = nextId++
      ws.send(`42${prefix}${id}${JSON.stringify([event, payload])}`)
      return new Promise((resolve) => waiting.set(id, resolve))
    },
    onFrame: (next) => {
      handler = next
    },
    close: () => ws.terminate(),
  }
}

/** Runs `work` for 0 … count - 1, `width` at a time. */
export async function each(
  count: number,
  width: number,
  work: (index: number) => Promise<void>,
): Promise<void> {
  let next = 0
  await Promise.all(
    Array.from({ length: Math.min(width, count) }, async () => {
      while (next < count) await work(next++)
    }),
  )
}

/** Waits until so many are counted, at most 30 s. */
export async function reached(count: () => number, wanted: number): Promise<void> {
  const end = performance.now() + 30_000
  while (count() < wanted) {
    if (performance.now() > end) throw new Error(`${count()} of ${wanted} were delivered`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}
