import type { Message, ServerPayload } from '@parley/contract'
import { assemble, type Parley, type ParleyOptions } from './client.ts'
import { createEmitter, type Emitter } from './emitter.ts'
import { ParleyError, toParleyError } from './errors.ts'
import { createFollowing } from './following.ts'
import type { ConversationFilter } from './rest.ts'
import type { Room } from './room.ts'
import { insist, MAX_TIMER_MS } from './timing.ts'
import { createTurns, type MessageHandler } from './turns.ts'

export interface AgentEvents {
  /**
   * A handler threw, a conversation could not be followed, or the connection was abandoned. What nobody listens to is
   * written to the console.
   */
  error: { error: Error; conversationId: string | null; messageId: string | null }
  /** A conversation is followed from now on. */
  following: Room
}

export interface AgentOptions extends Omit<ParleyOptions, 'as'> {
  /** Also pass on what other agents write; the server ends an exchange without people after a few messages. */
  answerAgents?: boolean
}

export interface Agent {
  readonly parley: Parley
  /**
   * Called for each message that others write, in order, one at a time per conversation. One handler: the last given.
   */
  onMessage(handler: MessageHandler): void
  /** Connects; follows every active conversation, and those that the agent is added to. */
  start(): Promise<void>
  /**
   * Begins no handler any more: what waits is left for the next process. Lets those that run finish for `graceMs`
   * (default 0), then ends their answers and the connection.
   */
  stop(options?: { graceMs?: number }): Promise<void>
  readonly on: Emitter<AgentEvents>['on']
}

/** Most conversations, besides the agent's own, that a gateway names as it connects. */
const MAX_NAMED = 499

/** Milliseconds between checks of conversations that are not followed. */
const LOOK_MS = 60_000

/** Joins under way at once after a connect; an agent may have hundreds of conversations. */
const PARALLEL_JOINS = 4

/**
 * An agent: answers in all its conversations, also what was written while it was away. One process at a time for
 * each agent id: a second one would take over the first one's answers.
 */
export function createAgent(options: AgentOptions): Agent {
  const { parley, answers } = assemble({ ...options, as: 'agent' })
  const events = createEmitter<AgentEvents>()
  const stopping = new AbortController()
  const turns = createTurns({ rest: parley, answers, report })
  let self = ''
  const following = createFollowing({
    parley,
    stopping: stopping.signal,
    self: () => self,
    concerns,
    handle: turns.handle,
    onFollowed: (room) => events.emit('following', room),
    report,
  })
  let timer: ReturnType<typeof setInterval> | undefined

  function report(error: unknown, conversationId: string | null, messageId: string | null = null): void {
    const failure = error instanceof Error ? error : new ParleyError('internal', String(error))
    if (failure instanceof ParleyError && (failure.code === 'closed' || failure.code === 'aborted')) return
    const isHeard = events.emit('error', { error: failure, conversationId, messageId })
    if (!isHeard) console.error(failure)
  }

  /** What others wrote, once it is whole. */
  function concerns({ participantType, participantId, deletedAt, status }: Message): boolean {
    if (deletedAt || status === 'streaming') return false
    return participantType !== 'agent' || (participantId !== self && options.answerAgents === true)
  }

  /** Follows what a gateway names as the agent connects, its own conversation first. */
  function followNamed({ conversation, active }: ServerPayload<'conversation:ready'>): void {
    const now = Date.now()
    const queue = [
      { id: conversation.id, activeAt: Number.POSITIVE_INFINITY },
      ...active
        .filter(({ id, lastSeq }) => (following.seenUntil(id) ?? -1) < lastSeq)
        // They come newest first.
        .map(({ id }, index) => ({ id, activeAt: now - index })),
    ]
    const worker = async () => {
      for (let next = queue.shift(); next; next = queue.shift())
        await following.follow(next.id, next.activeAt)
    }
    for (let i = 0; i < PARALLEL_JOINS; i++) void worker()
    if (active.length >= MAX_NAMED) followOthers().catch((error: unknown) => report(error, null))
  }

  /** Those that no gateway tells it of, where something was written since it wrote itself. */
  async function followOthers(): Promise<void> {
    const { signal } = stopping
    let cursor: string | null = null
    do {
      const query: ConversationFilter = { status: 'active', limit: 100, signal, cursor }
      const { data, page } = await insist(() => parley.conversations.list(query), signal)
      for (const { id, lastSeq, lastMessage, me } of data) {
        const news = me !== null && me.unread > 0 && lastSeq > (following.seenUntil(id) ?? 0)
        if (news && !following.isFollowed(id))
          await following.follow(id, lastMessage ? Date.parse(lastMessage.createdAt) : 0)
      }
      cursor = page.nextCursor
    } while (cursor !== null)
  }

  let looking = false
  async function lookAround(): Promise<void> {
    if (looking) return
    looking = true
    await followOthers().catch((error: unknown) => report(error, null))
    looking = false
  }

  parley.on('conversation:ready', followNamed)
  parley.on('conversation:added', ({ conversation }) => void following.follow(conversation.id))
  parley.on('conversation:activity', ({ conversationId }) => void following.follow(conversationId))
  parley.on('conversation:removed', ({ conversationId }) => following.removed(conversationId))
  parley.on('failed', (error) => report(error, null))
  parley.on('state', (state) => {
    if (state === 'closed') clearInterval(timer)
  })

  return {
    parley,
    on: events.on,
    onMessage: turns.handleWith,
    async start() {
      self = (await parley.me()).id
      await parley.connect()
      // Large conversations send no activity to sockets outside the room, so poll them.
      clearInterval(timer)
      timer = setInterval(() => void lookAround(), LOOK_MS)
    },
    async stop({ graceMs = 0 } = {}) {
      turns.stop()
      if (graceMs > 0) await withinTime(following.idle(), graceMs)
      stopping.abort()
      await withinTime(following.idle(), 1_000)
      await withinTime(turns.abandon(), 1_000)
      parley.close()
    },
  }
}

async function withinTime(work: Promise<unknown>, ms: number): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined
  const limit = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, Math.min(ms, MAX_TIMER_MS))
  })
  await Promise.race([work, limit]).catch((error: unknown) => {
    throw toParleyError(error)
  })
  clearTimeout(timer)
}
