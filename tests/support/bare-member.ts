import { setTimeout as delay } from 'node:timers/promises'
import { io, type Socket } from 'socket.io-client'
import { createHttp } from './http.ts'
import type { Acknowledged, Delivered, Member, MemberOptions } from './member.ts'

interface WireMessage extends Delivered {
  prevSeq: number
}
interface JoinAnswer {
  ok: boolean
  lastSeq: number
  hasMore: boolean
  messages: Delivered[]
  error?: { code: string; retryable: boolean }
}
type SendAnswer =
  | { ok: true; message: Delivered }
  | { ok: false; error: { code: string; retryable: boolean } }

/**
 * A member on a bare Socket.IO client that does what the contract asks of clients and no more: joins again with the
 * seq it holds, fetches by REST what a join left out or `resync` asks for. It is strict where a client could be
 * lenient: what the socket repeats, swaps or leaves out is a fault.
 */
export function createBareMember(options: MemberOptions): Member {
  const { name, conversationId, gatewayUrls, apiUrls, token } = options
  const http = createHttp(apiUrls, token)
  const log: Delivered[] = []
  const faults: string[] = []
  let resyncs = 0
  let held = 0
  let turn = 0
  let away = false
  let closed = false
  let socket: Socket | null = null
  let joinedOnce: () => void
  const joined = new Promise<void>((resolve) => {
    joinedOnce = resolve
  })

  const take = ({ id, seq, clientMessageId }: Delivered) => {
    if (seq <= held) return
    log.push({ id, seq, clientMessageId })
    held = seq
  }

  /** By REST, all that follows what is held, up to `through` or the end. */
  async function fetchOn(through: number, current: () => boolean): Promise<void> {
    while (held < through && current()) {
      const path = `/messages/conversation/${conversationId}?after=${held}&limit=100`
      const { data, page } = await http.sure<{ data: Delivered[]; page: { hasMore: boolean } }>('GET', path)
      if (!current()) return
      for (const message of data) take(message)
      if (!page.hasMore || data.length === 0) return
    }
  }

  function connect(): void {
    if (closed || away) return
    const opened = io(`${gatewayUrls[turn++ % gatewayUrls.length]}/chat`, {
      transports: ['websocket'],
      auth: { token },
      forceNew: true,
      reconnection: false,
      timeout: 5_000,
    })
    socket = opened
    const current = () => socket === opened && !closed
    /** Seq up to which this socket has delivered; null before the join is acknowledged. */
    let live: number | null = null
    /** A `resync` came: the next message may leave any gap. */
    let excused = false
    /** What arrives while REST fetches what is older. */
    let waiting: Delivered[] | null = []
    let fetching: Promise<void> = Promise.resolve()

    function fetchInTurn(through: number): void {
      waiting ??= []
      fetching = fetching
        .then(() => fetchOn(through, current))
        .then(() => {
          if (!current()) return
          for (const message of waiting ?? []) take(message)
          waiting = null
        })
        .catch((error: unknown) => {
          faults.push(`fetch failed: ${error}`)
          opened.disconnect()
        })
    }

    function join(pause = 20): void {
      // By callback: a promise would go on a moment later, after messages that came in the same breath.
      opened
        .timeout(10_000)
        .emit(
          'conversation:join',
          { conversationId, afterSeq: held },
          (error: Error | null, answer: JoinAnswer) => {
            if (!current() || !opened.connected) return
            if (error) opened.disconnect()
            else if (answer.ok) {
              live = answer.lastSeq
              for (const message of answer.messages) take(message)
              fetchInTurn(answer.hasMore ? answer.lastSeq : 0)
              joinedOnce()
            } else {
              if (!answer.error?.retryable) faults.push(`join refused: ${answer.error?.code}`)
              setTimeout(() => current() && opened.connected && join(Math.min(500, pause * 2)), pause)
            }
          },
        )
    }

    opened.on('connect', () => join())
    opened.on('message:new', (message: WireMessage) => {
      if (live === null) faults.push(`${message.seq} before the join was acknowledged`)
      else if (message.seq <= live) faults.push(`${message.seq} after ${live} on one socket`)
      else if (message.prevSeq > live && !excused)
        faults.push(`gap ${live} … ${message.prevSeq} without resync`)
      live = Math.max(live ?? 0, message.seq)
      excused = false
      if (waiting) waiting.push(message)
      else take(message)
    })
    opened.on('resync', () => {
      resyncs += 1
      excused = true
      fetchInTurn(Number.POSITIVE_INFINITY)
    })
    const again = () => {
      if (!current()) return
      socket = null
      setTimeout(connect, 20 + Math.random() * 200)
    }
    opened.on('disconnect', again)
    opened.on('connect_error', again)
  }

  async function trySend(payload: object): Promise<Delivered | null> {
    if (!socket?.connected) return null
    const answer: SendAnswer | null = await socket
      .timeout(8_000)
      .emitWithAck('message:send', payload)
      .catch(() => null)
    if (!answer) return null
    if (answer.ok) return answer.message
    if (!answer.error.retryable) throw new Error(`${name}: send refused: ${answer.error.code}`)
    return null
  }

  return {
    name,
    conversationId,
    log,
    faults,
    get resyncs() {
      return resyncs
    },
    get connected() {
      return socket?.connected ?? false
    },
    join() {
      connect()
      return joined
    },
    async send(content, clientMessageId): Promise<Acknowledged> {
      const begun = performance.now()
      const payload = { conversationId, role: 'user', content, clientMessageId }
      for (let pause = 20; ; pause = Math.min(400, pause * 2)) {
        const message = await trySend(payload)
        if (message) {
          const { id, seq } = message
          return { id, seq, clientMessageId, tookMs: performance.now() - begun }
        }
        if (closed) throw new Error(`${name}: closed with a message on its way`)
        await delay(pause * (0.5 + Math.random()))
      }
    },
    vanish(ms) {
      away = true
      const gone = socket
      socket = null
      gone?.io.engine?.close()
      setTimeout(() => {
        away = false
        connect()
      }, ms)
    },
    async online() {
      const answer = await socket?.timeout(5_000).emitWithAck('conversation:online', { conversationId })
      return answer?.users ?? []
    },
    close() {
      closed = true
      socket?.disconnect()
    },
  }
}
