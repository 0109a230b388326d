import type {
  Ack,
  ClientEvent,
  ClientPayload,
  ClientResult,
  ServerEvent,
  ServerPayload,
} from '@parley/contract'
import type { Socket } from 'socket.io-client'
import { createEmitter, type Emitter } from './emitter.ts'
import { fromProblem, ParleyError, toParleyError } from './errors.ts'
import { toJson } from './json.ts'
import { CONNECT_TIMEOUT_MS, createSocket, handshake, untilGone } from './socket.ts'
import { abortedBy, anySignal, backoff, ignoreAbort, raceSignal, sleep } from './timing.ts'
import { RENEW_AGAIN_MS, RENEWALS, type TokenSource } from './tokens.ts'

export type ConnectionState = 'idle' | 'connecting' | 'connected' | 'away' | 'failed' | 'closed'

type Incoming = { [E in ServerEvent]: ServerPayload<E> }

export interface ConnectionEvents extends Incoming {
  state: ConnectionState
  /** A socket is up; rooms join again. */
  connected: { gatewayUrl: string }
  disconnected: { reason: string }
  /** Nothing will connect until the application does something: the token is refused, or the origin. */
  failed: ParleyError
}

export interface Connection {
  readonly state: ConnectionState
  readonly events: Emitter<ConnectionEvents>
  /** Starts if it hasn't; resolves once connected, rejects when that can't be. */
  connect(signal?: AbortSignal): Promise<void>
  /**
   * Sends an event and waits for its acknowledgement. Throws ParleyError; `network` when there is no socket,
   * `payload_too_large` if it is longer than a packet may be, `validation_failed` if it is not JSON.
   */
  request<E extends ClientEvent>(
    event: E,
    payload: ClientPayload<E>,
    options?: { signal?: AbortSignal | undefined },
  ): Promise<ClientResult<E>>
  /** Sends without asking for an acknowledgement; nothing happens while there is no socket. */
  tell<E extends ClientEvent>(event: E, payload: ClientPayload<E>): void
  close(): void
}

/** A connection that lasted this long was a good one: the next try starts without a penalty. */
const STEADY_MS = 5_000
/** A gateway closes the connection on a packet above 1 MiB, event and number of the acknowledgement included. */
const PAYLOAD_BYTES = 1024 * 1024 - 256
/** Milliseconds for an acknowledgement: more than a gateway takes that asks the api twice, 10 s each. */
const ANSWER_MS = 25_000
/** Milliseconds without one after which the gateway is asked whether it is there, and those that it has to say so. */
const SUSPECT_MS = 10_000
const PROBE_MS = 2_000
/** No conversation has this id: to leave it is answered at once, without the api. */
const PROBE: ClientPayload<'conversation:leave'> = { conversationId: '0'.repeat(24) }
const FATAL = new Set(['unauthenticated', 'token_expired', 'origin_not_allowed'])

/**
 * Keeps one socket to one of the gateways: the next in the list when one is gone, drains or stops answering. Knows
 * nothing of rooms: the client tells them when there is a connection.
 */
export function createConnection(
  urls: readonly string[],
  tokens: TokenSource,
  closed: AbortSignal,
): Connection {
  const events = createEmitter<ConnectionEvents>()
  let state: ConnectionState = 'idle'
  let socket: Socket | null = null
  let running = false
  let gateway = 0

  function setState(next: ConnectionState): void {
    if (state === next) return
    state = next
    events.emit('state', next)
  }

  function listen(opened: Socket): void {
    opened.onAny((event: ServerEvent, payload: ServerPayload<ServerEvent>) => {
      // Rooms that end with the token are not over for its bearer: the socket is closed right behind, and another token
      // brings them back.
      if (opened !== socket || ('reason' in payload && payload.reason === 'revoked')) return
      events.emit(event, payload as ConnectionEvents[ServerEvent])
    })
    opened.once('server:draining', ({ reconnectAfterMs }: ServerPayload<'server:draining'>) => {
      // Leaves before it is put out, for another gateway where there is one.
      sleep(reconnectAfterMs, closed).then(() => opened.disconnect(), ignoreAbort)
    })
  }

  /** One connection, from its handshake until it is gone; resolves to how long it lasted, in milliseconds. */
  async function session(): Promise<number> {
    const gatewayUrl = urls[gateway % urls.length] ?? ''
    const opened = createSocket(gatewayUrl, await raceSignal(tokens.get(), closed))
    let since: number | null = null
    let reason = 'closed'
    try {
      // From the start: what the gateway says right behind the handshake comes in the same moment.
      socket = opened
      listen(opened)
      await raceSignal(handshake(opened), anySignal(closed, AbortSignal.timeout(CONNECT_TIMEOUT_MS)))
      since = Date.now()
      setState('connected')
      events.emit('connected', { gatewayUrl })
      reason = await raceSignal(untilGone(opened), closed)
      return Date.now() - since
    } finally {
      socket = null
      opened.disconnect()
      opened.offAny()
      if (since !== null) {
        setState(closed.aborted ? 'closed' : 'away')
        events.emit('disconnected', { reason })
      }
    }
  }

  /** Connects again and again until the client is closed; resolves to why that is pointless, if it is. */
  async function run(): Promise<ParleyError | null> {
    let failures = 0
    /** Tokens refused since the last connection. */
    let refusals = 0
    setState('connecting')
    while (!closed.aborted) {
      let lasted = 0
      let atLeastMs = 0
      try {
        lasted = await session()
        refusals = 0
      } catch (thrown) {
        if (closed.aborted) break
        const error = toParleyError(thrown)
        if (FATAL.has(error.code)) {
          refusals += 1
          const isFinal = !tokens.renewable || error.code === 'origin_not_allowed'
          if (isFinal || refusals > RENEWALS) return error
          if (refusals > 1) atLeastMs = RENEW_AGAIN_MS
          tokens.drop()
        }
        atLeastMs = Math.max(atLeastMs, error.retryAfterMs ?? 0)
      }
      gateway += 1
      failures = lasted > STEADY_MS ? 0 : failures + 1
      setState('away')
      const delay = failures === 0 ? Math.random() * 100 : backoff(failures - 1, atLeastMs)
      await sleep(delay, closed).catch(ignoreAbort)
    }
    return null
  }

  function start(): void {
    if (running || closed.aborted) return
    running = true
    run().then((failure) => {
      // Before listeners hear of it: they may ask at once to try again.
      running = false
      if (failure) {
        setState('failed')
        events.emit('failed', failure)
      } else setState('closed')
    })
  }

  async function request<E extends ClientEvent>(
    event: E,
    payload: ClientPayload<E>,
    { signal }: { signal?: AbortSignal | undefined } = {},
  ): Promise<ClientResult<E>> {
    const ended = anySignal(signal, closed)
    if (ended?.aborted) throw abortedBy(ended)
    const used = socket
    if (!used?.connected) throw new ParleyError('network', 'There is no connection to a gateway')
    if (new TextEncoder().encode(toJson(payload)).length > PAYLOAD_BYTES) {
      throw new ParleyError('payload_too_large', `The payload of ${event} must be smaller than 1 MiB`)
    }
    const suspicion = setTimeout(() => {
      used.timeout(PROBE_MS).emit('conversation:leave', PROBE, (silent: Error | null) => {
        if (silent) used.disconnect()
      })
    }, SUSPECT_MS)
    let answer: Ack<ClientResult<E>>
    try {
      const asked: Promise<Ack<ClientResult<E>>> = used.timeout(ANSWER_MS).emitWithAck(event, payload)
      answer = await raceSignal(asked, ended)
    } catch (error) {
      if (error instanceof ParleyError) throw error
      if (!used.connected)
        throw new ParleyError('network', `The connection was lost during ${event}`, { cause: error })
      // Connected, yet silent: the gateway hangs. Another one may do better.
      used.disconnect()
      throw new ParleyError('timeout', `No acknowledgement of ${event}`, { cause: error })
    } finally {
      clearTimeout(suspicion)
    }
    if (answer.ok) return answer
    throw fromProblem(answer.error)
  }

  return {
    get state() {
      return state
    },
    events,
    request,
    async connect(signal) {
      if (closed.aborted) throw abortedBy(closed)
      if (state === 'connected') return
      start()
      const offs: (() => void)[] = []
      const connected = new Promise<void>((resolve, reject) => {
        offs.push(
          events.on('connected', () => resolve()),
          events.on('failed', reject),
        )
      })
      await raceSignal(connected, anySignal(signal, closed)).finally(() => {
        for (const off of offs) off()
      })
    },
    tell(event, payload) {
      if (socket?.connected) socket.emit(event, payload)
    },
    close() {
      socket?.disconnect()
      if (!running) setState('closed')
    },
  }
}
