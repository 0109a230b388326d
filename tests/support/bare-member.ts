import { setTimeout as delay } from 'node:timers/promises'
import { io, type Socket } from 'socket.io-client'
import { createHttp } from './http.ts'
import type { Acknowledged, Delivered, Member, MemberOptions } from './member.ts'

interface Stored extends Delivered {
  content: string
  changeSeq: number
  deletedAt: string | null
}
interface WireMessage extends Stored {
  prevSeq: number
}
interface Change {
  changeSeq: number
  message?: Stored
}
interface JoinAnswer {
  ok: boolean
  lastSeq: number
  changeSeq: number
  hasMore: boolean
  messages: Stored[]
  changes: Change[]
  error?: { code: string; retryable: boolean }
}
type SendAnswer =
  | { ok: true; message: Delivered }
  | { ok: false; error: { code: string; retryable: boolean } }

export interface BareMember extends Member {
  /** Sends once over the socket. Null: no answer, or one that promises nothing; it may be stored or not. */
  sendOnce(content: string, clientMessageId?: string): Promise<Delivered | null>
}

/**
 * A member on a bare Socket.IO client that does what the contract asks of clients and no more: joins again with the
 * seq it holds, fetches by REST what a join left out or `resync` asks for. It is strict where a client could be
 * lenient: what the socket repeats, swaps or leaves out is a fault.
 */
export function createBareMember(options: MemberOptions): BareMember {
  const { name, conversationId, gatewayUrls, apiUrls, token, transport = 'websocket', heard } = options
  const http = createHttp(apiUrls, token)
  const log: Delivered[] = []
  const deleted = new Set<string>()
  const faults: string[] = []
  let resyncs = 0
  let held = 0
  let heldChange = 0
  let turn = 0
  /** Wants to be in the room. */
  let wanted = false
  let away = false
  let closed = false
  let socket: Socket | null = null
  let joined = Promise.withResolvers<void>()
  /** Joins or leaves over the present connection. */
  let enter: () => void = () => undefined
  let exit: () => Promise<void> = async () => undefined

  const take = (message: Stored) => {
    const { id, seq, clientMessageId } = message
    if (seq > held) {
      log.push({ id, seq, clientMessageId })
      held = seq
      heard?.({ id, seq, clientMessageId })
    }
    see(message)
  }
  const see = ({ id, seq, content, deletedAt }: Stored) => {
    if (!deletedAt) return
    if (content !== '') faults.push(`${seq} deleted, with its content`)
    deleted.add(id)
  }
  const seeAll = (changes: readonly Change[]) => {
    for (const { message } of changes) if (message) see(message)
  }

  /** By REST, all that follows what is held, up to `through` or the end. */
  async function fetchOn(through: number, current: () => boolean): Promise<void> {
    while (held < through && current()) {
      const path = `/messages/conversation/${conversationId}?after=${held}&limit=100`
      const { data, page } = await http.sure<{ data: Stored[]; page: { hasMore: boolean } }>('GET', path)
      if (!current()) return
      for (const message of data) take(message)
      if (!page.hasMore || data.length === 0) return
    }
  }

  /** By REST, all changes that follow what is held. */
  async function fetchChanges(current: () => boolean): Promise<void> {
    for (let more = true; more && current(); ) {
      const path = `/conversations/${conversationId}/changes?after=${heldChange}&limit=100`
      const { data, page } = await http.sure<{
        data: Change[]
        page: { hasMore: boolean; lastChangeSeq: number }
      }>('GET', path)
      if (!current()) return
      seeAll(data)
      more = page.hasMore && data.length > 0
      heldChange = Math.max(heldChange, more ? (data.at(-1)?.changeSeq ?? 0) : page.lastChangeSeq)
    }
  }

  function connect(): void {
    if (closed || away) return
    const opened = io(`${gatewayUrls[turn++ % gatewayUrls.length]}/chat`, {
      transports: transport === 'upgrade' ? ['polling', 'websocket'] : [transport],
      auth: { token },
      forceNew: true,
      reconnection: false,
      timeout: 5_000,
    })
    socket = opened
    const current = () => socket === opened && !closed
    const inside = () => current() && wanted
    /** Seq up to which this socket has delivered; null before the join is acknowledged. */
    let live: number | null = null
    let liveChange = 0
    /** A `resync` came: the next message may leave any gap. */
    let excused = false
    /** What arrives while REST fetches what is older. */
    let waiting: Stored[] | null = []
    let fetching: Promise<void> = Promise.resolve()

    function fetchInTurn(through: number): void {
      waiting ??= []
      const visit = joined
      const still = () => inside() && joined === visit
      fetching = fetching
        .then(() => fetchOn(through, still))
        .then(() => (through > 0 ? fetchChanges(still) : undefined))
        .then(() => {
          if (!still()) return
          for (const message of waiting ?? []) take(message)
          waiting = null
        })
        .catch((error: unknown) => {
          faults.push(`fetch failed: ${error}`)
          opened.disconnect()
        })
    }

    function join(pause = 20): void {
      const visit = joined
      // By callback: a promise would go on a moment later, after messages that came in the same breath.
      opened
        .timeout(10_000)
        .emit(
          'conversation:join',
          { conversationId, afterSeq: held, afterChangeSeq: heldChange },
          (error: Error | null, answer: JoinAnswer) => {
            if (!current() || !opened.connected) return
            if (error) opened.disconnect()
            else if (answer.ok) {
              live = answer.lastSeq
              liveChange = answer.changeSeq
              if (!wanted) return
              for (const message of answer.messages) take(message)
              seeAll(answer.changes)
              if (!answer.hasMore) heldChange = Math.max(heldChange, answer.changeSeq)
              fetchInTurn(answer.hasMore ? answer.lastSeq : 0)
              visit.resolve()
            } else {
              if (!answer.error?.retryable) faults.push(`join refused: ${answer.error?.code}`)
              setTimeout(
                () => inside() && joined === visit && opened.connected && join(Math.min(500, pause * 2)),
                pause,
              )
            }
          },
        )
    }

    enter = () => {
      if (opened.connected && inside()) join()
    }
    exit = async () => {
      if (!opened.connected) return
      const answer = await opened
        .timeout(10_000)
        .emitWithAck('conversation:leave', { conversationId })
        .catch(() => null)
      if (answer && !answer.ok) faults.push(`leave refused: ${answer.error?.code}`)
      if (answer?.ok) live = null
      // Whether it is out is unknown: then without a connection.
      else opened.disconnect()
      waiting = null
      excused = false
    }

    opened.on('connect', enter)
    opened.on('message:new', (message: WireMessage) => {
      if (live === null) faults.push(`${message.seq} while not in the room`)
      else if (message.seq <= live) faults.push(`${message.seq} after ${live} on one socket`)
      else if (message.prevSeq > live && !excused)
        faults.push(`gap ${live} … ${message.prevSeq} without resync`)
      live = Math.max(live ?? 0, message.seq)
      excused = false
      if (!wanted) return
      if (waiting) waiting.push(message)
      else take(message)
    })
    opened.on('message:deleted', (message: Stored) => {
      const { seq, changeSeq } = message
      if (live === null) faults.push(`change ${changeSeq} while not in the room`)
      else if (seq > live) faults.push(`${seq} deleted before it came`)
      if (changeSeq <= liveChange) faults.push(`change ${changeSeq} after ${liveChange} on one socket`)
      liveChange = Math.max(liveChange, changeSeq)
      if (!wanted) return
      see(message)
      // What is being fetched may have a gap below.
      if (!waiting) heldChange = Math.max(heldChange, changeSeq)
    })
    opened.on('resync', () => {
      if (!wanted) return
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
    // Sending needs no join, but a connection.
    if (turn === 0) connect()
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
    deleted,
    faults,
    get resyncs() {
      return resyncs
    },
    get connected() {
      return socket?.connected ?? false
    },
    join() {
      wanted = true
      joined = Promise.withResolvers()
      const { promise } = joined
      // Without a connection, one is on its way once the first was asked for.
      if (turn === 0) connect()
      else enter()
      return promise
    },
    async leave() {
      wanted = false
      await exit()
    },
    sendOnce: (content, clientMessageId) =>
      trySend({ conversationId, role: 'user', content, ...(clientMessageId ? { clientMessageId } : {}) }),
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
