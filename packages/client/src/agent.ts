import type { ConversationContext, Message } from '@parley/contract'
import { type Answer, type AnswerOptions, createAnswer } from './answer.ts'
import { findUnanswered } from './backlog.ts'
import { assemble, type Parley, type ParleyOptions } from './client.ts'
import { createEmitter, type Emitter } from './emitter.ts'
import { ParleyError, toParleyError } from './errors.ts'
import type { Room } from './room.ts'
import { anySignal } from './timing.ts'
import type { MessageInput } from './types.ts'

/** What a handler has at hand to answer one message. */
export interface Turn {
  conversation: Room
  /** What goes into the prompt: the summary of what is old and the newest messages, within the budget. */
  context(options?: { maxTokens?: number; recent?: number }): Promise<ConversationContext>
  /** Begins a streamed answer; the others see it at once, empty. Ended by itself when the handler returns. */
  stream(options?: AnswerOptions): Answer
  /** Answers with a whole message. */
  reply(message: MessageInput): Promise<Message>
  /** Fires when a participant cancels the answer, the conversation is gone, or the agent stops. */
  signal: AbortSignal
}

export type MessageHandler = (message: Message, turn: Turn) => Promise<void> | void

export interface AgentEvents {
  /** A handler threw, or a conversation could not be followed. */
  error: { error: Error; conversationId: string | null; messageId: string | null }
  /** A conversation is followed from now on. */
  following: Room
}

export interface AgentOptions extends Omit<ParleyOptions, 'as'> {
  /** Also hand on what other agents write; the server ends an exchange without people after a few messages. */
  answerAgents?: boolean
}

export interface Agent {
  readonly parley: Parley
  /** Called for each message that others write, in order, one at a time per conversation. */
  onMessage(handler: MessageHandler): void
  /** Connects; follows every active conversation, and those that the agent is added to. */
  start(): Promise<void>
  /** Lets running handlers finish for `graceMs` (default 0), then ends their answers and the connection. */
  stop(options?: { graceMs?: number }): Promise<void>
  readonly on: Emitter<AgentEvents>['on']
}

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
  const followed = new Map<string, { stop: AbortController; tail: Promise<void> }>()
  let handler: MessageHandler | null = null
  let self = ''

  function report(error: unknown, conversationId: string | null, messageId: string | null = null): void {
    const failure = error instanceof Error ? error : new ParleyError('internal', String(error))
    if (failure instanceof ParleyError && (failure.code === 'closed' || failure.code === 'aborted')) return
    events.emit('error', { error: failure, conversationId, messageId })
  }

  async function handle(room: Room, message: Message, gone: AbortSignal): Promise<void> {
    if (!handler || gone.aborted) return
    const open: Answer[] = []
    const cancelled = new AbortController()
    const signal = anySignal(cancelled.signal, gone) ?? gone
    let parts = 0
    const key = () => {
      parts += 1
      return parts === 1 ? `answer-${message.id}` : `answer-${message.id}-${parts}`
    }
    const turn: Turn = {
      conversation: room,
      signal,
      context: (budget = {}) => parley.conversations.context(room.id, { ...budget, signal }),
      stream(about = {}) {
        const answer = createAnswer(answers, room.id, key(), { parentId: message.id, ...about })
        open.push(answer)
        answer.signal.addEventListener('abort', () => cancelled.abort(), { once: true })
        return answer
      },
      reply(input) {
        const draft = typeof input === 'string' ? { content: input } : input
        return room.send({ parentId: message.id, clientMessageId: key(), ...draft })
      },
    }
    try {
      await handler(message, turn)
      for (const answer of open) await answer.end()
    } catch (error) {
      // What a cancelled model call throws is no failure.
      if (!signal.aborted) report(error, room.id, message.id)
      const reason = error instanceof Error ? error.message : 'failed'
      for (const answer of open) await answer.abort(reason).catch((cause: unknown) => report(cause, room.id))
    }
  }

  async function follow(id: string): Promise<void> {
    if (followed.has(id) || stopping.signal.aborted) return
    const stop = new AbortController()
    const entry = { stop, tail: Promise.resolve() }
    followed.set(id, entry)
    const gone = anySignal(stop.signal, stopping.signal) ?? stop.signal
    const room = parley.conversation(id)
    const take = (message: Message) => {
      const mine = message.participantType === 'agent' && message.participantId === self
      if (mine || message.deletedAt || message.status === 'streaming') return
      if (message.participantType === 'agent' && !options.answerAgents) return
      entry.tail = entry.tail
        .then(() => handle(room, message, gone))
        .catch((error: unknown) => report(error, id))
    }
    const offs = [
      room.on('conversation:removed', () => {
        for (const off of offs) off()
        stop.abort()
        followed.delete(id)
      }),
    ]
    try {
      // Live messages wait in line behind the backlog, which has all that was written before the join.
      const early: Message[] = []
      let backlogEnd: number | null = null
      const takeLive = (message: Message) => {
        if (backlogEnd === null) early.push(message)
        else if (message.seq > backlogEnd) take(message)
      }
      offs.push(
        room.on('message:new', takeLive),
        room.on('message:updated', (message) => {
          if (options.answerAgents && message.participantType === 'agent' && message.status === 'sent')
            take(message)
        }),
      )
      const joined = await room.join({ signal: gone })
      for (const message of await findUnanswered(parley, id, joined, self)) take(message)
      backlogEnd = joined.lastSeq
      for (const message of early) takeLive(message)
      events.emit('following', room)
    } catch (error) {
      for (const off of offs) off()
      followed.delete(id)
      report(error, id)
    }
  }

  parley.on('conversation:ready', ({ conversation, active }) => {
    const ids = new Set([conversation.id, ...active.map(({ id }) => id)])
    const queue = [...ids]
    const worker = async () => {
      for (let id = queue.shift(); id !== undefined; id = queue.shift()) await follow(id)
    }
    for (let i = 0; i < PARALLEL_JOINS; i++) worker().catch((error: unknown) => report(error, null))
  })
  parley.on('conversation:added', ({ conversation }) => {
    follow(conversation.id).catch((error: unknown) => report(error, conversation.id))
  })

  return {
    parley,
    on: events.on,
    onMessage(next) {
      handler = next
    },
    async start() {
      self = (await parley.me()).id
      await parley.connect()
    },
    async stop({ graceMs = 0 } = {}) {
      const tails = () => Promise.all([...followed.values()].map(({ tail }) => tail))
      if (graceMs > 0) await withinTime(tails(), graceMs)
      stopping.abort()
      await withinTime(tails(), 1_000)
      parley.close()
    },
  }
}

async function withinTime(work: Promise<unknown>, ms: number): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined
  const limit = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms)
  })
  await Promise.race([work, limit]).catch((error: unknown) => {
    throw toParleyError(error)
  })
  clearTimeout(timer)
}
