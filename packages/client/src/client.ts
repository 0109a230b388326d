import type { ServerEvent, ServerPayload } from '@parley/contract'
import { unfoldAggregates } from './aggregate.ts'
import type { AnswerDependencies } from './answer.ts'
import { type ConnectionState, createConnection } from './connection.ts'
import { createEmitter, type Emitter } from './emitter.ts'
import { ParleyError } from './errors.ts'
import { createHttp } from './http.ts'
import { createRest, type Rest } from './rest.ts'
import { createRoom, type Room, type RoomInside } from './room.ts'
import { createSender } from './sender.ts'
import { createTokenRefresh } from './token-refresh.ts'
import { createTokenSource, type TokenInput } from './tokens.ts'
import type { CallOptions } from './types.ts'

export interface ParleyOptions {
  /** The one public origin, where REST and sockets share it. */
  url?: string
  /** Where the api is; several are used in turn when one is away. */
  apiUrl?: string | readonly string[]
  /** Where the gateway is. */
  gatewayUrl?: string
  /** Several gateways, the preferred one first: when one is gone, the next is used. */
  gatewayUrls?: readonly string[]
  token: TokenInput
  /** What the token stands for; decides the role of messages where none is given. Default `user`. */
  as?: 'user' | 'agent'
}

export interface ParleyEvents {
  state: ConnectionState
  connected: { gatewayUrl: string }
  disconnected: { reason: string }
  /** The connection is given up: the token or the origin is refused. `connect()` tries again. */
  failed: ParleyError
  'presence:update': ServerPayload<'presence:update'>
  'conversation:added': ServerPayload<'conversation:added'>
  'conversation:removed': ServerPayload<'conversation:removed'>
  'conversation:activity': ServerPayload<'conversation:activity'>
  /** To agents, on each connect. */
  'conversation:ready': ServerPayload<'conversation:ready'>
  'auth:expiring': ServerPayload<'auth:expiring'>
  'auth:expired': ServerPayload<'auth:expired'>
  'server:draining': ServerPayload<'server:draining'>
}

export interface Parley extends Rest {
  /** Connects to a gateway and stays connected. Joining a room does it too. */
  connect(options?: CallOptions): Promise<void>
  readonly state: ConnectionState
  readonly on: Emitter<ParleyEvents>['on']
  readonly once: Emitter<ParleyEvents>['once']
  /** One conversation, live. The same object for the same id, for as long as the client is open or until `forget`. */
  conversation(id: string): Room
  /**
   * Lets go of a conversation that is not followed (never joined, left, or gone): with its listeners, and where it was.
   * For who has to do with very many. The old room can't be joined again. Has no effect on one that is followed.
   */
  forget(id: string): void
  /** Leaves everything at once; what was under way fails with `closed`. */
  close(): void
}

const FORWARDED = [
  'state',
  'connected',
  'disconnected',
  'failed',
  'presence:update',
  'conversation:added',
  'conversation:removed',
  'conversation:activity',
  'conversation:ready',
  'auth:expiring',
  'auth:expired',
  'server:draining',
] as const satisfies (keyof ParleyEvents)[]

const ROOM_EVENTS = [
  'message:new',
  'message:updated',
  'message:deleted',
  'message:receipt',
  'message:stream',
  'message:cancel',
  'user:typing',
  'user:joined',
  'user:left',
  'conversation:updated',
  'conversation:removed',
  'resync',
] as const satisfies ServerEvent[]

/** Aggregates are unfolded, errors concern answers, and what was sent is known from its acknowledgement. */
type Elsewhere = 'room:aggregate' | 'message:sent' | 'message:error'
type Unheard = Exclude<ServerEvent, (typeof FORWARDED)[number] | (typeof ROOM_EVENTS)[number] | Elsewhere>
/** Does not compile while the server has an event that goes nowhere here. */
true satisfies [Unheard] extends [never] ? true : Unheard

function list(...given: (string | readonly string[] | undefined)[]): readonly string[] {
  const first = given.find((value) => value !== undefined && value.length > 0)
  const urls = typeof first === 'string' ? [first] : (first ?? [])
  return urls.map((url) => url.replace(/\/+$/, ''))
}

/** The client with what the agent helper needs beside it. */
export function assemble(options: ParleyOptions): {
  parley: Parley
  answers: AnswerDependencies
} {
  const apiUrls = list(options.apiUrl, options.url)
  const gatewayUrls = list(options.gatewayUrls, options.gatewayUrl, options.url)
  if (apiUrls.length === 0 || gatewayUrls.length === 0) {
    throw new TypeError('createParley needs url, or apiUrl and gatewayUrl')
  }
  const closing = new AbortController()
  const closed = closing.signal
  const tokens = createTokenSource(options.token)
  const rest = createRest(createHttp(apiUrls, tokens, closed), createHttp(gatewayUrls, tokens, closed))
  const connection = createConnection(gatewayUrls, tokens, closed)
  const refresh = createTokenRefresh(connection, tokens, closed)
  const sender = createSender({ connection, rest, tokens, refresh, closed })
  const events = createEmitter<ParleyEvents>()
  const rooms = new Map<string, RoomInside>()
  const role = options.as === 'agent' ? 'assistant' : 'user'

  unfoldAggregates(connection.events)
  for (const event of ROOM_EVENTS) {
    connection.events.on(event, (payload) => rooms.get(payload.conversationId)?.receive(event, payload))
  }
  const forward = <E extends keyof ParleyEvents & (typeof FORWARDED)[number]>(event: E) =>
    connection.events.on(event, (payload) => events.emit(event, payload as ParleyEvents[E]))
  for (const event of FORWARDED) forward(event)
  connection.events.on('connected', () => {
    for (const room of rooms.values()) room.rejoin()
  })
  connection.events.on('disconnected', () => {
    for (const room of rooms.values()) room.lost()
  })

  const parley: Parley = {
    ...rest,
    connect: ({ signal } = {}) => connection.connect(signal),
    get state() {
      return connection.state
    },
    on: events.on,
    once: events.once,
    conversation(given) {
      // As the servers write it.
      const id = given.toLowerCase()
      const known = rooms.get(id)
      if (known) return known
      const isReplaced = () => rooms.get(id) !== room && rooms.has(id)
      const room: RoomInside = createRoom(id, { connection, rest, sender, role, closed, isReplaced })
      rooms.set(id, room)
      return room
    },
    forget(given) {
      const id = given.toLowerCase()
      const room = rooms.get(id)
      if (room?.state !== 'out' && room?.state !== 'removed') return
      room.retire()
      rooms.delete(id)
    },
    close() {
      closing.abort(new ParleyError('closed', 'The client was closed'))
      connection.close()
    },
  }
  return { parley, answers: { connection, rest, closed } }
}

/** The client: REST calls, and conversations live. Connects when the first conversation is joined. */
export const createParley = (options: ParleyOptions): Parley => assemble(options).parley
