import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import {
  type Change,
  type ClientPayload,
  isPlainText,
  LIMITS,
  type Message,
  type Problem,
  type ProblemCode,
} from '@parley/contract'
import { sampleMessage } from '@parley/contract/testing'
import { Server, type Socket } from 'socket.io'

/** What a test may make the server do. Each field holds until the test changes it. */
export interface Faults {
  /** Close the socket before a message, a read position or a cancel is acknowledged, this many times. */
  loseAcks: number
  /** Keep this many live messages from the room. */
  swallowLive: number
  /** Never answer `message:send`. */
  mute: boolean
  /** Answer sends with this problem, this many times. */
  refuseSends: { code: ProblemCode; times: number } | null
  /** Answer joins with this problem, this many times. */
  refuseJoins: { code: ProblemCode; times: number } | null
  /** Rooms that a socket may be in. */
  roomLimit: number
  /** Joins, and what comes behind them, wait for this. */
  holdJoins: Promise<void> | null
  /** Leaves wait for this. */
  holdLeaves: Promise<void> | null
  /** Go away, this many times, between taking a connection and answering who wants in. */
  dieInHandshake: number
  /** Said right behind the handshake. */
  greeting: { expiresAt: string } | null
  /** Tokens that are refused. */
  badTokens: Set<string>
  /** Answer every REST call with 503. */
  restAway: boolean
  /** Close the connection of a REST call that was carried out, this many times. */
  loseRest: number
  /** REST calls wait for this. */
  holdRest: Promise<void> | null
  /** Answer every REST call with 404. */
  restGone: boolean
  /** Answer this many REST calls with a 404 that is not the api's. */
  strayRest: number
  /** Tell nobody outside of a room that something was written, as in a conversation of many. */
  quiet: boolean
  /** Know nothing of an answer that is to end, this many times. */
  disownEnds: number
  /** Refuse this step of streamed answers. */
  refuseStep: 'delta' | 'end' | null
}

/** A token that says until when it is good, as all that are issued do. */
export const tokenOf = (name: string): string => `${name}.${btoa(JSON.stringify({ exp: 4_102_444_800 }))}.s`

export const problem = (code: ProblemCode, status: number, retryable: boolean): Problem => ({
  type: `/docs/problems#${code}`,
  title: code,
  status,
  detail: code,
  instance: '/',
  code,
  requestId: 'r',
  retryable,
})

/** The log of one conversation, shared by all servers of a test: what MongoDB is to the real ones. */
export function createWorld(number = 0) {
  const conversationId = `0123456789abcdef0123456${number}`
  const messages: Message[] = []
  const changes: Change[] = []
  const listeners = new Set<(event: string, payload: unknown) => void>()
  const publish = (event: string, payload: unknown) => {
    for (const listener of listeners) listener(event, payload)
  }
  const changed = (message: Message) => {
    const change: Change = {
      changeSeq: changes.length + 1,
      kind: message.deletedAt ? 'message.deleted' : 'message.updated',
      message,
    }
    message.changeSeq = change.changeSeq
    changes.push({ ...change, message: { ...message } })
    publish(message.deletedAt ? 'message:deleted' : 'message:updated', { ...message })
  }
  return {
    conversationId,
    /** The agent `bot` takes part since 2000. */
    createdAt: '2000-01-01T00:00:00.000Z',
    messages,
    changes,
    listeners,
    publish,
    changed,
    append(fields: Partial<Message> & { clientMessageId: string | null }): Message {
      const known = messages.find(
        (message) => message.clientMessageId === fields.clientMessageId && fields.clientMessageId !== null,
      )
      if (known) return known
      const seq = messages.length + 1
      const message = sampleMessage({
        id: `${number}${seq.toString(16).padStart(23, '0')}`,
        conversationId,
        seq,
        createdAt: new Date().toISOString(),
        ...fields,
      })
      messages.push(message)
      publish('message:new', { ...message, prevSeq: seq - 1 })
      return message
    },
    remove(seq: number): void {
      const message = messages[seq - 1]
      if (!message) throw new Error(`No message ${seq}`)
      message.deletedAt = new Date().toISOString()
      message.content = ''
      changed(message)
    },
  }
}
export type World = ReturnType<typeof createWorld>

/** A gateway and an api in one, as far as a client can tell: speaks the contract about these conversations. */
export async function startFakeServer(...worlds: World[]) {
  const worldOf = (conversationId: string) => worldIn(worlds, conversationId)
  const faults: Faults = {
    loseAcks: 0,
    swallowLive: 0,
    mute: false,
    refuseSends: null,
    refuseJoins: null,
    roomLimit: 500,
    holdJoins: null,
    holdLeaves: null,
    dieInHandshake: 0,
    greeting: null,
    badTokens: new Set(),
    restAway: false,
    loseRest: 0,
    holdRest: null,
    restGone: false,
    strayRest: 0,
    quiet: false,
    disownEnds: 0,
    refuseStep: null,
  }
  const calls: { event: string; payload: unknown }[] = []
  const rest: string[] = []
  const http = createServer((request, response) => {
    rest.push(`${request.method} ${request.url}`)
    answerRest(worlds, faults, request, response).catch((error: unknown) => response.destroy(error as Error))
  })
  const io = new Server(http, { transports: ['websocket'], maxHttpBufferSize: LIMITS.requestBytes })
  const chat = io.of('/chat')
  chat.use((socket, next) => {
    if (faults.dieInHandshake > 0) {
      faults.dieInHandshake -= 1
      socket.conn.close()
      return
    }
    const token: unknown = socket.handshake.auth.token
    if (typeof token === 'string' && !faults.badTokens.has(token)) return next()
    next(Object.assign(new Error('refused'), { data: { code: 'token_expired' } }))
  })
  chat.on('connection', (socket) => {
    serve(socket)
    if (faults.greeting) socket.emit('auth:expiring', faults.greeting)
  })

  const stops = worlds.map((world) => {
    const { conversationId } = world
    const toRoom = (event: string, payload: unknown) => {
      if (event === 'message:new' && faults.swallowLive > 0) {
        faults.swallowLive -= 1
        return
      }
      chat.to(conversationId).emit(event, payload)
      if (event !== 'message:new' || faults.quiet) return
      const activity = { conversationId, lastSeq: world.messages.length, lastMessage: null }
      chat.except(conversationId).emit('conversation:activity', activity)
    }
    world.listeners.add(toRoom)
    return () => world.listeners.delete(toRoom)
  })

  function serve(socket: Socket): void {
    let lane: Promise<unknown> = Promise.resolve()
    const on = <P>(event: string, handle: (payload: P) => Record<string, unknown> | Problem | null) => {
      socket.on(event, (payload: P, ack?: (answer: unknown) => void) => {
        calls.push({ event, payload })
        const answerNow = () => {
          const answer = handle(payload)
          if (!answer) return
          if (!('retryable' in answer)) ack?.({ ok: true, ...answer })
          else if (ack) ack({ ok: false, error: answer })
          else socket.emit('message:error', { ...answer, event })
        }
        const held = (event === 'conversation:leave' && faults.holdLeaves) || faults.holdJoins
        if (held) lane = lane.then(() => held).then(answerNow)
        else answerNow()
      })
    }
    const losesAck = () => {
      if (faults.loseAcks === 0) return false
      faults.loseAcks -= 1
      socket.disconnect(true)
      return true
    }
    on<ClientPayload<'conversation:join'>>(
      'conversation:join',
      ({ conversationId, afterSeq, afterChangeSeq }) => {
        if (faults.refuseJoins && faults.refuseJoins.times > 0) {
          faults.refuseJoins.times -= 1
          return problem(faults.refuseJoins.code, 400, false)
        }
        const world = worldOf(conversationId)
        if (!world) return problem('not_found', 404, false)
        // Its own is one of them.
        if (socket.rooms.size > faults.roomLimit) return problem('conflict', 409, false)
        socket.join(world.conversationId)
        const after = afterSeq ?? world.messages.length
        const messages = world.messages
          .filter((message) => message.seq > after)
          .map((message) => ({ ...message }))
        const changes =
          afterChangeSeq === undefined
            ? []
            : world.changes.filter((change) => change.changeSeq > afterChangeSeq)
        return {
          lastSeq: world.messages.length,
          changeSeq: world.changes.length,
          readSeq: 0,
          unread: 0,
          messages: messages.slice(0, 100),
          hasMore: messages.length > 100,
          changes,
          receipts: [],
          online: { users: [], agents: [] },
        }
      },
    )
    on<ClientPayload<'message:send'>>('message:send', (draft) => {
      if (faults.mute) return null
      if (faults.refuseSends && faults.refuseSends.times > 0) {
        faults.refuseSends.times -= 1
        const { code } = faults.refuseSends
        const status = code === 'token_expired' ? 401 : 500
        return problem(code, status, code === 'unavailable' || code === 'rate_limited')
      }
      const world = worldOf(draft.conversationId)
      if (!world) return problem('not_found', 404, false)
      const agent = socket.handshake.auth.token === 'bot'
      const message = world.append({
        content: draft.content ?? '',
        parentId: draft.parentId ?? null,
        clientMessageId: draft.clientMessageId ?? null,
        ...(agent && { participantType: 'agent' as const, participantId: 'bot' }),
      })
      return losesAck() ? null : { message }
    })
    on<ClientPayload<'message:read'>>('message:read', (read) => {
      if (losesAck()) return null
      return { readSeq: 'seq' in read ? read.seq : 0, unread: 0 }
    })
    on('message:typing', () => ({}))
    on('message:cancel', () => (losesAck() ? null : {}))
    on<ClientPayload<'conversation:leave'>>('conversation:leave', ({ conversationId }) => {
      socket.leave(conversationId)
      return {}
    })
    on('auth:refresh', () => ({ expiresAt: new Date(Date.now() + 60_000).toISOString() }))
    on<ClientPayload<'message:stream'>>('message:stream', (step) => {
      if (step.op === 'end' && faults.disownEnds > 0) {
        faults.disownEnds -= 1
        return problem('conflict', 409, false)
      }
      if (step.op === faults.refuseStep) return problem('payload_too_large', 413, false)
      const world =
        step.op === 'start'
          ? worldOf(step.conversationId)
          : worlds.find(({ messages }) => messages.some(({ id }) => id === step.messageId))
      return world ? stream(world, step) : problem('not_found', 404, false)
    })
  }

  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))
  const { port } = http.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    faults,
    calls,
    /** Method and path of each REST call. */
    rest,
    of: (event: string) => calls.filter((call) => call.event === event).map((call) => call.payload),
    /** To every connected socket. */
    emit: (event: string, payload: unknown) => chat.emit(event, payload),
    dropAll: () => chat.disconnectSockets(true),
    sockets: () => chat.sockets.size,
    async stop(): Promise<void> {
      for (const stop of stops) stop()
      await io.close()
    },
  }
}
const worldIn = (worlds: readonly World[], conversationId: string) =>
  worlds.find((world) => world.conversationId === conversationId.toLowerCase())

export type FakeServer = Awaited<ReturnType<typeof startFakeServer>>

function stream(
  world: World,
  step: ClientPayload<'message:stream'>,
): Record<string, unknown> | Problem | null {
  if (step.op === 'start') {
    const message = world.append({
      clientMessageId: step.clientMessageId,
      parentId: step.parentId ?? null,
      status: 'streaming',
      role: 'assistant',
      participantType: 'agent',
      participantId: 'bot',
    })
    return { messageId: message.id, seq: message.seq, index: message.content.length, message }
  }
  const message = world.messages.find(({ id }) => id === step.messageId)
  if (!message) return problem('not_found', 404, false)
  if (step.op === 'delta') {
    if (message.status !== 'streaming' || step.index !== message.content.length)
      return problem('conflict', 409, false)
    if (message.content.length + step.text.length > LIMITS.contentBytes)
      return problem('payload_too_large', 413, false)
    message.content += step.text
    world.publish('message:stream', {
      conversationId: world.conversationId,
      seq: message.seq,
      ...step,
    })
    return null
  }
  if (step.op === 'end' && (step.content?.length ?? 0) > LIMITS.contentBytes)
    return problem('validation_failed', 422, false)
  if (
    step.op === 'abort' &&
    step.reason !== undefined &&
    (!isPlainText(step.reason) || step.reason.length > 200)
  )
    return problem('validation_failed', 422, false)
  if (message.status === 'streaming') {
    message.status = step.op === 'end' ? 'sent' : 'failed'
    if (step.op === 'end' && step.content !== undefined) message.content = step.content
    world.changed(message)
  }
  return { message }
}

async function answerRest(
  worlds: readonly World[],
  faults: Faults,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const url = new URL(request.url ?? '/', 'http://fake')
  const send = (status: number, body: unknown) => {
    response.writeHead(status, {
      'content-type': status < 400 ? 'application/json' : 'application/problem+json',
    })
    response.end(JSON.stringify(body))
  }
  await faults.holdRest
  if (faults.strayRest > 0) {
    faults.strayRest -= 1
    response.writeHead(404, { 'content-type': 'text/plain' }).end('There is nothing here')
    return
  }
  if (faults.restGone) return send(404, problem('not_found', 404, false))
  if (faults.loseRest > 0) {
    faults.loseRest -= 1
    request.destroy()
    return
  }
  const token = request.headers.authorization?.slice('Bearer '.length) ?? ''
  if (faults.badTokens.has(token)) return send(401, problem('token_expired', 401, false))
  if (faults.restAway) return send(503, problem('unavailable', 503, true))
  const after = Number(url.searchParams.get('after') ?? 0)
  if (request.method === 'POST' && url.pathname === '/messages') {
    let text = ''
    for await (const chunk of request) text += String(chunk)
    const draft: ClientPayload<'message:send'> = JSON.parse(text)
    const message = worldIn(worlds, draft.conversationId)?.append({
      content: draft.content ?? '',
      clientMessageId: draft.clientMessageId ?? null,
    })
    return message ? send(201, message) : send(404, problem('not_found', 404, false))
  }
  if (url.pathname === '/me')
    return send(200, {
      type: 'agent',
      id: 'bot',
      orgId: 'acme',
      roles: [],
      name: null,
      unread: { conversations: 0, messages: 0 },
    })
  const [, id = '', path] = /^(?:\/messages)?\/conversations?\/([^/]+)(?:\/(\w+))?/.exec(url.pathname) ?? []
  if (url.pathname === '/conversations') {
    const data = worlds.map(({ conversationId, messages }) => ({
      id: conversationId,
      lastSeq: messages.length,
      lastMessage: messages.at(-1) ?? null,
      me: { role: 'member', readSeq: 0, unread: messages.length },
    }))
    return send(200, { data, page: { nextCursor: null, prevCursor: null, hasMore: false } })
  }
  const [, messageId] = /^\/messages\/(\w{24})$/.exec(url.pathname) ?? []
  const named = worlds.flatMap(({ messages }) => messages).find((message) => message.id === messageId)
  if (named) return send(200, named)
  const world = worldIn(worlds, id)
  if (!world) return send(404, problem('not_found', 404, false))
  if (url.pathname === `/messages/conversation/${world.conversationId}`) {
    const rest = world.messages.filter((message) => message.seq > after)
    return send(200, {
      data: rest.slice(0, 100),
      page: { nextCursor: null, prevCursor: null, hasMore: rest.length > 100 },
    })
  }
  if (path === 'read') {
    return send(200, { readSeq: world.messages.length, unread: 0 })
  }
  if (path === 'last') {
    return send(200, { data: world.messages.slice(-50) })
  }
  if (path === 'changes') {
    const rest = world.changes.filter((change) => change.changeSeq > after)
    return send(200, { data: rest, page: { hasMore: false, lastChangeSeq: world.changes.length } })
  }
  if (path === 'context') {
    return send(200, { summary: null, coversSeq: 0, messages: world.messages, tokens: 1 })
  }
  const participants = [{ type: 'agent', id: 'bot', joinedAt: '2000-01-01T00:00:00.000Z' }]
  if (path === 'participants') return send(200, { data: participants, page: { hasMore: false } })
  if (path === undefined) {
    const { length } = world.messages
    const { conversationId, createdAt } = world
    return send(200, { id: conversationId, createdAt, status: 'active', lastSeq: length, participants })
  }
  return send(404, problem('not_found', 404, false))
}
