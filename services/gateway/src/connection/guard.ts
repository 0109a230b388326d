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
  const tries = createCount(MAX_TRIES)
  const probes = createCount(MAX_PROBES)
  const attached = new WeakMap<Connection, number>()

  function isBearable(conn: Connection, data: unknown): boolean {
    if (Buffer.isBuffer(data)) return attach(conn, (attached.get(conn) ?? 0) + data.length)
    if (typeof data !== 'string') return false
    switch (data[0]) {
      case CONNECT:
        return data.length <= MAX_TRY_CHARACTERS && tries.take(conn)
      case BINARY_EVENT:
      case BINARY_ACK:
        return attach(conn, data.length)
      default:
        return true
    }
  }
  function attach(conn: Connection, bytes: number): boolean {
    attached.set(conn, bytes)
    return bytes <= MAX_ATTACHED_BYTES
  }

  function onPacket(this: Connection, { type, data }: { type: string; data?: unknown }): void {
    if (type === 'message' && !isBearable(this, data)) terminate(this)
  }
  function onProbe(this: Connection): void {
    // Not during the event: Engine.IO starts a timer right after it, which only a later close clears.
    if (!probes.take(this)) queueMicrotask(() => terminate(this))
  }

  io.engine.on('connection', (conn: Connection) => {
    conn.on('packet', onPacket)
    if (conn.transport.name === 'polling') conn.on('upgrading', onProbe)
  })
}

function createCount(max: number) {
  const counts = new WeakMap<Connection, number>()
  return {
    take(conn: Connection): boolean {
      const count = (counts.get(conn) ?? 0) + 1
      counts.set(conn, count)
      return count <= max
    },
  }
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
