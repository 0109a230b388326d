import { createTokenBucket } from '@parley/service-kit'
import { createSession } from '../connection/session.ts'
import type { ChatSocket } from '../sockets.ts'

/** A connection without a network: the parts that are written to, with as much waiting to be read as a test says. */
export function createFakeSocket({ eventsPerSecond = 0 } = {}) {
  /** What was written straight to the websocket, or to the queue of a connection that has a backlog. */
  const written: string[] = []
  const queued: string[] = []
  /** Packets that Engine.IO holds back. */
  const backlog: { data: string }[] = []
  const below = {
    bufferedAmount: 0,
    readyState: 1,
    ended: false,
    terminate: () => {
      below.ended = true
    },
    _sender: {
      sendFrame: (buffers: Buffer[]) => void written.push(Buffer.concat(buffers).toString()),
    },
  }
  const bucket = createTokenBucket(eventsPerSecond, eventsPerSecond)
  const socket = {
    data: { session: createSession({ token: '', issuedAt: 0, expiresAt: 0 }, bucket) },
    conn: {
      transport: { socket: below },
      writeBuffer: backlog,
      write: (text: string) => void queued.push(text),
      close: () => undefined,
    },
  }
  return { socket: socket as unknown as ChatSocket, below, written, queued, backlog }
}
