import type { JoinResult, Message } from '@parley/contract'
import { findUnanswered, type Unanswered } from './backlog.ts'
import { assemble, type Parley, type ParleyOptions } from './client.ts'
import { createEmitter, type Emitter, type Off } from './emitter.ts'
import { ParleyError, toParleyError } from './errors.ts'
import { createInbox, type Inbox } from './inbox.ts'
import type { ConversationFilter } from './rest.ts'
import type { JoinOptions, Room } from './room.ts'
import { anySignal, backoff, insist, sleep } from './timing.ts'
import { createTurns, type MessageHandler } from './turns.ts'

export interface AgentEvents {
  /** A handler threw, a conversation could not be followed, or the connection was abandoned. */
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
  /** Called for each message that others write, in order, one at a time per conversation. */
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

/** Passes on the messages of one conversation, one after the other. */
interface Line {
  /** Fires when the conversation is gone. */
  stop: AbortController
  tail: Promise<void>
  /** Ids of the messages whose turn has not come, without those that were deleted since. */
  due: Set<string>
}

const newLine = (): Line => ({ stop: new AbortController(), tail: Promise.resolve(), due: new Set() })

interface Followed extends Line {
  room: Room
  inbox: Inbox
  offs: Off[]
  /** When something was last written there, in milliseconds since 1970; infinite for what is never left. */
  activeAt: number
  /** Something can be written there. */
  active: boolean
  /** Where to continue, if it was followed before; otherwise messages that wait for an answer are looked up. */
  from: Room['position'] | null
  /** It got no place when the connection came back, and asks for one again. */
  returning: boolean
}

interface Left extends Line {
  position: Room['position']
}

/** Conversations that were left whose position is kept; what was written in others is looked for. */
const LEFT_KEPT = 10_000

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
  const { parley, answers, forget } = assemble({ ...options, as: 'agent' })
  const events = createEmitter<AgentEvents>()
  const stopping = new AbortController()
  const followed = new Map<string, Followed>()
  /** Conversations that were left, in the order of leaving. */
  const left = new Map<string, Left>()
  const turns = createTurns({ rest: parley, answers, report })
  let self = ''
  let timer: ReturnType<typeof setInterval> | undefined

  function report(error: unknown, conversationId: string | null, messageId: string | null = null): void {
    const failure = error instanceof Error ? error : new ParleyError('internal', String(error))
    if (failure instanceof ParleyError && (failure.code === 'closed' || failure.code === 'aborted')) return
    events.emit('error', { error: failure, conversationId, messageId })
  }

  /** Leaves the room; continues from there as soon as something is written in the conversation. */
  async function leave(entry: Followed): Promise<void> {
    const { room, stop, tail, due } = entry
    const { id } = room
    for (const off of entry.offs) off()
    followed.delete(id)
    const position = entry.inbox.settled ? room.position : entry.from
    if (position) left.set(id, { stop, tail, due, position })
    const [oldest] = left.keys()
    if (oldest !== undefined && left.size > LEFT_KEPT) left.delete(oldest)
    forget(id)
    await insist(async () => {
      if (!followed.has(id)) await room.leave()
    }, stopping.signal)
    if (entry.inbox.settled) lookBack(id, room.position.seq).catch((error: unknown) => report(error, id))
  }

  /** What was written as it left reached neither the room, where nobody was listening by then, nor came as activity. */
  async function lookBack(id: string, seq: number): Promise<void> {
    const { signal } = stopping
    const { status, lastSeq } = await insist(() => parley.conversations.get(id, { signal }), signal)
    if (status === 'active' && lastSeq > seq) await follow(id)
  }

  function longestIdle(): Followed | undefined {
    let idle: Followed | undefined
    let since = Number.POSITIVE_INFINITY
    for (const entry of followed.values()) {
      const isIn = entry.room.state === 'live' || entry.room.state === 'filling'
      const at = entry.active ? entry.activeAt : 0
      if (!entry.inbox.settled || !isIn || at >= since) continue
      idle = entry
      since = at
    }
    return idle
  }

  /** Joins; if the connection is in as many rooms as it may be, in place of the one idle for longest. */
  async function join(room: Room, options: JoinOptions): Promise<JoinResult> {
    for (let failures = 1; ; failures++) {
      try {
        return await room.join(options)
      } catch (error) {
        if (toParleyError(error).code !== 'conflict') throw error
        const idle = longestIdle()
        if (idle) await leave(idle)
        // It has just come to all that it is in.
        else await sleep(backoff(failures), options.signal)
      }
    }
  }

  async function follow(id: string, activeAt = Date.now()): Promise<void> {
    if (stopping.signal.aborted) return
    const known = followed.get(id)
    if (known) {
      known.activeAt = Math.max(known.activeAt, activeAt)
      if (known.room.state !== 'away' || known.returning) return
      known.returning = true
      await join(known.room, { signal: stopping.signal }).finally(() => {
        known.returning = false
      })
      return
    }
    const before = left.get(id)
    left.delete(id)
    const from = before?.position ?? null
    const { stop, tail, due } = before ?? newLine()
    const room = parley.conversation(id)
    const gone = anySignal(stop.signal, stopping.signal) ?? stop.signal
    let backlog: Unanswered = { messages: [], failures: new Map() }
    const hand = (message: Message) => {
      if (!concerns(message)) return
      due.add(message.id)
      entry.tail = entry.tail
        .then(async () => {
          if (due.delete(message.id))
            await turns.handle(room, message, gone, backlog.failures.get(message.id))
        })
        .catch((error: unknown) => report(error, id))
    }
    const inbox = createInbox(from?.seq ?? 0, hand, ({ id }) => due.delete(id))
    const entry: Followed = {
      room,
      stop,
      tail,
      due,
      inbox,
      offs: [],
      activeAt,
      active: true,
      from,
      returning: false,
    }
    followed.set(id, entry)
    entry.offs = [
      room.on('conversation:removed', () => {
        for (const off of entry.offs) off()
        stop.abort()
        followed.delete(id)
        forget(id)
      }),
      room.on('state', (state) => {
        if (state === 'away' && parley.state === 'connected') void followOrReport(id)
      }),
      room.on('conversation:updated', ({ conversation }) => {
        entry.active = conversation.status === 'active'
      }),
      room.on('message:new', (message) => {
        entry.activeAt = Math.max(entry.activeAt, Date.now())
        inbox.written(message)
      }),
      room.on('message:deleted', inbox.deleted),
      room.on('message:updated', (message) => {
        if (message.participantType === 'agent' && message.status === 'sent') inbox.ended(message)
      }),
    ]
    try {
      const place = from && { afterSeq: from.seq, afterChangeSeq: from.changeSeq }
      const joined = await join(room, { ...place, signal: gone })
      if (!from) backlog = await insist(() => findUnanswered(parley, id, joined, self), gone)
      // It was left meanwhile.
      if (followed.get(id) !== entry) return
      inbox.settle(backlog.messages, from ? from.seq : joined.lastSeq)
      events.emit('following', room)
    } catch (error) {
      report(error, id)
      if (followed.get(id) === entry) await leave(entry)
    }
  }

  /** What others wrote, once it is whole. */
  function concerns({ participantType, participantId, deletedAt, status }: Message): boolean {
    if (deletedAt || status === 'streaming') return false
    return participantType !== 'agent' || (participantId !== self && options.answerAgents === true)
  }

  /** Those that no gateway tells it of, where something was written since it wrote itself. */
  async function followOthers(): Promise<void> {
    const { signal } = stopping
    let cursor: string | null = null
    do {
      const query: ConversationFilter = { status: 'active', limit: 100, signal, ...(cursor && { cursor }) }
      const { data, page } = await insist(() => parley.conversations.list(query), signal)
      for (const { id, lastSeq, lastMessage, me } of data) {
        const news = me !== null && me.unread > 0 && lastSeq > (left.get(id)?.position.seq ?? 0)
        if (news && !followed.has(id))
          await followOrReport(id, lastMessage ? Date.parse(lastMessage.createdAt) : 0)
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

  const followOrReport = (id: string, activeAt?: number) =>
    follow(id, activeAt).catch((error: unknown) => report(error, id))
  parley.on('conversation:ready', ({ conversation, active }) => {
    const now = Date.now()
    const queue = [
      { id: conversation.id, activeAt: Number.POSITIVE_INFINITY },
      ...active
        .filter(({ id, lastSeq }) => (left.get(id)?.position.seq ?? -1) < lastSeq)
        // They come newest first.
        .map(({ id }, index) => ({ id, activeAt: now - index })),
    ]
    const worker = async () => {
      for (let next = queue.shift(); next; next = queue.shift()) await followOrReport(next.id, next.activeAt)
    }
    for (let i = 0; i < PARALLEL_JOINS; i++) void worker()
    if (active.length >= MAX_NAMED) followOthers().catch((error: unknown) => report(error, null))
  })
  parley.on('failed', (error) => report(error, null))
  parley.on('state', (state) => {
    if (state === 'closed') clearInterval(timer)
  })
  parley.on('conversation:added', ({ conversation }) => void followOrReport(conversation.id))
  parley.on('conversation:activity', ({ conversationId }) => void followOrReport(conversationId))
  parley.on('conversation:removed', ({ conversationId }) => {
    left.get(conversationId)?.stop.abort()
    left.delete(conversationId)
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
      const tails = () => Promise.all([...followed.values(), ...left.values()].map(({ tail }) => tail))
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
