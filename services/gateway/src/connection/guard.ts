import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { type ServerOptions, type WebSocket, WebSocketServer } from 'ws'
import type { ChatServer, ChatSocket } from '../sockets.ts'
import { terminate } from './wire.ts'

type Connection = ChatSocket['conn']

/** Types of Socket.IO packets. */
const CONNECT = '0'
const BINARY_EVENT = '5'
const BINARY_ACK = '6'

/** Times that one connection may try to connect: after a refusal, a client opens another. */
const MAX_TRIES = 3
/** Characters of each of them: the longest token, 16 KiB, and what is around it. */
const MAX_TRY_CHARACTERS = 20 * 1024
/** Times that it may probe a websocket for the upgrade: a client does so once. */
const MAX_PROBES = 3

/** Bytes of a packet with attachments, which is kept until it has them all. No event has any: they are refused. */
const MAX_ATTACHED_BYTES = 64 * 1024

/**
 * Bounds what Socket.IO and Engine.IO keep and answer by themselves, also for those who have shown no token: none of it
 * goes through `outbound`. Anything that no chat client does ends the connection before Socket.IO sees it.
 */
export function guard(io: ChatServer): void {
  io.engine.on('connection', guardOne)
}

function guardOne(conn: Connection): void {
  let tries = 0
  let probes = 0
  let attachedBytes = 0

  function isBearable(data: unknown): boolean {
    if (Buffer.isBuffer(data)) {
      attachedBytes += data.length
      return attachedBytes <= MAX_ATTACHED_BYTES
    }
    if (typeof data !== 'string') return false
    switch (data[0]) {
      case CONNECT:
        tries += 1
        return tries <= MAX_TRIES && data.length <= MAX_TRY_CHARACTERS
      case BINARY_EVENT:
      case BINARY_ACK:
        attachedBytes = data.length
        return attachedBytes <= MAX_ATTACHED_BYTES
      default:
        return true
    }
  }

  conn.on('packet', ({ type, data }: { type: string; data?: unknown }) => {
    if (type === 'message' && !isBearable(data)) terminate(conn)
  })
  if (conn.transport.name !== 'polling') return
  conn.on('upgrading', () => {
    probes += 1
    // Not during the event: Engine.IO starts a timer right after it, which only a later close clears.
    if (probes > MAX_PROBES) queueMicrotask(() => terminate(conn))
  })
}

/** Pieces of a message that has not fully arrived: 1 MiB makes some 720 in packets of Ethernet's size. */
const MAX_FRAGMENTS = 4_096

/**
 * Websockets that keep few pieces of a message, however small, and one answer to pings, however many: the newest is
 * answered once the previous answer has been written (RFC 6455, 5.5.3).
 */
export class GuardedWebSockets extends WebSocketServer {
  constructor(options: ServerOptions) {
    super({ ...options, autoPong: false, maxBufferedChunks: MAX_FRAGMENTS, maxFragments: MAX_FRAGMENTS })
  }

  override handleUpgrade(
    request: IncomingMessage,
    socket: Duplex,
    head: Buffer,
    done: (websocket: WebSocket, request: IncomingMessage) => void,
  ): void {
    super.handleUpgrade(request, socket, head, (websocket) => {
      websocket.on('ping', onPing)
      done(websocket, request)
    })
  }
}

/** The newest ping that came while an answer was being written. */
const newest = new WeakMap<WebSocket, Buffer | null>()

function onPing(this: WebSocket, data: Buffer): void {
  if (newest.has(this)) {
    newest.set(this, data)
    return
  }
  newest.set(this, null)
  this.pong(data, false, () => {
    const next = newest.get(this)
    newest.delete(this)
    if (next) onPing.call(this, next)
  })
}
