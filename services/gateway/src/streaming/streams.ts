import { randomUUID } from 'node:crypto'
import {
  type InternalStreamFinish,
  type InternalStreamFinishResult,
  LIMITS,
  type Message,
  participantKey,
  problem,
  roomChannel,
  type StreamAck,
  type StreamPayload,
  type StreamResult,
} from '@parley/contract'
import type { ApiClient, Logger } from '@parley/service-kit'
import type { Redis } from 'ioredis'
import type { Bus } from '../bus/bus.ts'
import type { Outbound } from '../connection/outbound.ts'
import type { Rooms } from '../delivery/rooms.ts'
import type { Lifecycle } from '../lifecycle.ts'
import type { ChatSocket } from '../sockets.ts'
import { createBeat } from './beat.ts'
import { createStreamFollower } from './follower.ts'
import { createStreamOwner, STREAM_TIMES, type StreamOwner } from './owner.ts'
import { createStreamStore } from './store.ts'

type Op<O extends StreamPayload['op']> = Extract<StreamPayload, { op: O }>
type Start = Omit<Op<'start'>, 'op'>

/** The same for each start of an answer. */
const nameOf = ({ conversationId, clientMessageId }: Start): string => `${conversationId} ${clientMessageId}`

const notOpenHere = () =>
  problem('conflict', { detail: 'The stream is not open on this connection: start it again' })

export type Streams = ReturnType<typeof createStreams>

/**
 * Answers that agents stream into one message: owned by the gateway that took the agent's `start`, followed by all
 * whose rooms see them. `redis` is a `fast` connection; while it is away, text reaches only this gateway's sockets.
 */
export function createStreams(options: {
  redis: Redis
  bus: Bus
  api: ApiClient
  rooms: Rooms
  outbound: Outbound
  lifecycle: Lifecycle
  logger: Logger
  times?: Partial<typeof STREAM_TIMES>
}) {
  const { redis, bus, api, rooms, outbound, lifecycle, logger } = options
  const times = { ...STREAM_TIMES, ...options.times }
  const store = createStreamStore({ redis, logger })
  const owners = new Map<string, StreamOwner>()
  /**
   * Answers taken from agents that may still write here. What they wrote last may be lost: they have to start again.
   */
  const taken = new WeakMap<ChatSocket, Set<string>>()
  /** Starts under way, whose agent may be removed meanwhile. */
  const starts = new Set<{
    socket: ChatSocket
    name: string
    conversationId: string
    author: string
    failForLostAccess(): void
  }>()
  const onEnded = (messageId: string) => owners.get(messageId)?.onEndedElsewhere()
  const follower = createStreamFollower({ bus, api, rooms, outbound, lifecycle, store, logger, onEnded })
  const beat = createBeat(times.beatMs)
  let closing = false

  /** As many are remembered as it may have open. */
  function onTaken(messageId: string, writer: ChatSocket): void {
    const own = taken.get(writer) ?? new Set<string>()
    taken.set(writer, own.add(messageId))
    const [oldest] = own
    if (own.size > LIMITS.streamsPerSocket && oldest !== undefined) own.delete(oldest)
  }

  function onOver(owner: StreamOwner): void {
    if (owners.get(owner.messageId) === owner) owners.delete(owner.messageId)
    bus.release(roomChannel(owner.conversationId))
  }

  /** Each open answer costs the api a checkpoint every two seconds, whether or not anything is written. */
  function assertSpace(socket: ChatSocket, name: string): void {
    if (owners.size + starts.size < LIMITS.streamsPerSocket) return
    const open = new Set<string>()
    for (const owner of owners.values()) if (owner.ownedBy(socket)) open.add(owner.name)
    for (const attempt of starts) if (attempt.socket === socket) open.add(attempt.name)
    if (open.has(name) || open.size < LIMITS.streamsPerSocket) return
    throw problem('conflict', {
      detail: `A socket may have ${LIMITS.streamsPerSocket} answers open; end one`,
    })
  }

  async function start(socket: ChatSocket, { op: _, ...payload }: Op<'start'>): Promise<StreamAck> {
    if (socket.data.type !== 'agent') {
      throw problem('role_not_allowed', { detail: 'Only agents stream answers' })
    }
    if (closing) throw problem('unavailable', { retryAfter: 1 })
    const name = nameOf(payload)
    assertSpace(socket, name)
    let isExpelled = false
    const attempt = {
      socket,
      name,
      conversationId: payload.conversationId,
      author: socket.data.key,
      failForLostAccess: () => {
        isExpelled = true
      },
    }
    starts.add(attempt)
    try {
      const ack = await open(socket, payload)
      const owner = owners.get(ack.messageId)
      // Only now, since the start itself may have taken it from an owner that was behind; and not if another connection
      // has started it meanwhile.
      if (!owner || owner.ownedBy(socket)) taken.get(socket)?.delete(ack.messageId)
      // Its agent was removed after the api stored it and before it had an owner here: nobody else would end it.
      if (isExpelled) void owner?.failForLostAccess()
      return ack
    } finally {
      starts.delete(attempt)
    }
  }

  async function open(socket: ChatSocket, payload: Start) {
    const { caller } = socket.data
    const { conversationId } = payload
    const { message, created } = await api.internal(
      '/internal/streams/start',
      { caller, start: payload },
      { key: conversationId },
    )
    const { id: messageId, seq } = message
    if (message.status !== 'streaming') {
      return { messageId, seq, index: message.content.length, message }
    }
    // Its agent may have continued on another connection, from which nothing must be taken.
    if (!socket.connected) throw problem('unavailable')
    const token = randomUUID()
    let stored = ''
    let claimed = true
    try {
      stored = await store.claim(conversationId, messageId, seq, token)
    } catch (error) {
      logger.debug({ err: error, messageId }, 'Redis is away: a stream starts without it')
      claimed = false
    }
    if (!socket.connected) throw problem('unavailable')

    let owner = owners.get(messageId)
    if (owner && stored.length > owner.length) {
      // It has continued elsewhere since.
      owner.drop()
      owner = undefined
    }
    if (owner) owner.resume({ socket, token, claimed, stored })
    else {
      const longer = message.content.length > stored.length
      owner = createStreamOwner(
        {
          conversationId,
          messageId,
          seq,
          orgId: caller.orgId,
          author: participantKey(caller),
          name: nameOf(payload),
        },
        {
          text: longer ? message.content : stored,
          token,
          claimed,
          socket,
          stored: claimed && !longer,
        },
        { api, store, beat, outbound, logger, times, deliver: follower.deliver, onTaken, onOver },
      )
      owners.set(messageId, owner)
      void bus.hold(roomChannel(conversationId))
    }
    return created ? { messageId, seq } : { messageId, seq, index: owner.length }
  }

  /** The stream that this socket started, or resumed. */
  function owned(socket: ChatSocket, messageId: string): StreamOwner {
    const owner = owners.get(messageId)
    if (!owner?.ownedBy(socket)) throw notOpenHere()
    return owner
  }

  async function finish(
    socket: ChatSocket,
    messageId: string,
    status: 'sent' | 'failed',
    result: StreamResult,
  ): Promise<StreamAck> {
    const owner = owners.get(messageId)
    if (!owner?.ownedBy(socket) && taken.get(socket)?.has(messageId)) throw notOpenHere()
    const { message } = owner?.ownedBy(socket)
      ? await owner.finish(status, result, socket.data.caller)
      : await finishElsewhere(socket, messageId, status, result)
    return { messageId, seq: message.seq, message }
  }

  /**
   * Ends a stream that is not open on this connection, with what is stored of it: the agent may have changed gateways.
   */
  async function finishElsewhere(
    socket: ChatSocket,
    messageId: string,
    status: 'sent' | 'failed',
    result: StreamResult,
  ): Promise<InternalStreamFinishResult> {
    const { conversationId, content } = await seenBy(socket, messageId)
    const answer = await endHeld(messageId, (text) => {
      // Redis may have less than a checkpoint stored: it was away, or lost it.
      const isLonger = result.content === undefined && text !== null && text.length > content.length
      return {
        conversationId,
        messageId,
        status,
        result: isLonger ? { ...result, content: text } : result,
        caller: socket.data.caller,
      }
    })
    await store.close(conversationId, messageId)
    return answer
  }

  /** @throws ProblemError not_found (it does not exist, or the caller takes no part there) */
  async function seenBy(socket: ChatSocket, messageId: string) {
    const { body } = await api.asCaller<Pick<Message, 'conversationId' | 'content'>>(
      'GET',
      `/messages/${messageId}`,
      socket.data.session.token,
    )
    return body
  }

  /** Ends a stream, of which its owner shows nobody any more meanwhile than what is stored. */
  async function endHeld(
    messageId: string,
    end: (text: string | null) => InternalStreamFinish,
  ): Promise<InternalStreamFinishResult> {
    let won = false
    let holding: NodeJS.Timeout | undefined
    try {
      const request = end(await hold(messageId))
      // The api may take longer than a stream is held.
      holding = setInterval(() => {
        store.hold(messageId).catch((error: unknown) => {
          logger.debug({ err: error, messageId }, 'a stream may go on before it is ended')
        })
      }, times.holdAgainMs)
      const { conversationId } = request
      const answer = await api.internal('/internal/streams/finish', request, { key: conversationId })
      won = answer.won
      return answer
    } finally {
      clearInterval(holding)
      if (!won) await store.release(messageId)
    }
  }

  /** Its text, which does not go on until it is ended or released; null where nobody knows it. */
  async function hold(messageId: string): Promise<string | null> {
    // Of an owner here Redis then has all.
    const own = (await owners.get(messageId)?.read()) ?? null
    try {
      const held = await store.hold(messageId)
      return held === null || (own !== null && own.length > held.length) ? own : held
    } catch (error) {
      logger.debug({ err: error, messageId }, 'Redis is away: a stream ends with what is known here')
      return own
    }
  }

  const onReconnected = () => {
    for (const owner of owners.values()) owner.onReconnected()
  }
  redis.on('ready', onReconnected)
  bus.handle('cancel', (_channel, messageId) => onEnded(messageId))
  lifecycle.on('disconnected', (socket) => {
    for (const owner of owners.values()) owner.onAgentGone(socket)
  })
  lifecycle.on('expelled', (conversationId, key) => {
    for (const stream of [...owners.values(), ...starts]) {
      if (stream.conversationId !== conversationId || (key !== null && stream.author !== key)) continue
      void stream.failForLostAccess()
    }
  })

  return {
    start,

    delta(socket: ChatSocket, { messageId, index, text }: Op<'delta'>): void {
      owned(socket, messageId).append(index, text)
    },

    end: (socket: ChatSocket, { op: _, messageId, ...result }: Op<'end'>): Promise<StreamAck> =>
      finish(socket, messageId, 'sent', result),

    abort: (socket: ChatSocket, { messageId }: Op<'abort'>): Promise<StreamAck> =>
      finish(socket, messageId, 'failed', {}),

    /** Stores it first, then tells the agent; if that fails, its gateway finds out at the next checkpoint. */
    async cancel(socket: ChatSocket, conversationId: string, messageId: string): Promise<void> {
      // Who may not see it can't stop it for a moment either.
      const seen = await seenBy(socket, messageId)
      if (seen.conversationId !== conversationId) throw problem('not_found')
      const { won } = await endHeld(messageId, (content) => ({
        conversationId,
        messageId,
        status: 'cancelled',
        result: content === null ? {} : { content },
        caller: socket.data.caller,
      }))
      if (!won) return
      onEnded(messageId)
      void bus.publish(roomChannel(conversationId), 'cancel', messageId)
      await store.close(conversationId, messageId)
    },

    /** The conversation of an answer that is streamed through this gateway. */
    conversationOf: (messageId: string): string | undefined => owners.get(messageId)?.conversationId,

    /** Streams that agents have open here. */
    get size(): number {
      return owners.size
    },

    /** Leaves all streams to whoever takes them over. */
    async close(): Promise<void> {
      closing = true
      redis.off('ready', onReconnected)
      await Promise.all([...owners.values()].map((owner) => owner.leave()))
    },
  }
}
