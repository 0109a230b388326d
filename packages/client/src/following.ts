import type { JoinResult, Message } from '@parley/contract'
import { findUnanswered, type Unanswered } from './backlog.ts'
import type { Parley } from './client.ts'
import type { Off } from './emitter.ts'
import { toParleyError } from './errors.ts'
import { createInbox, type Inbox } from './inbox.ts'
import type { JoinOptions, Room } from './room.ts'
import { anySignal, backoff, insist, sleep } from './timing.ts'
import { createWorkQueue, type WorkQueue } from './work-queue.ts'

export interface FollowingOptions {
  parley: Parley
  /** Fires when the agent stops. */
  stopping: AbortSignal
  /** The agent's own id, known once it has started. */
  self(): string
  /** Whether the agent is to see a message. */
  concerns(message: Message): boolean
  /** Does what there is to do for a message. `failures`: how many answers to it have failed. */
  handle(room: Room, message: Message, gone: AbortSignal, failures?: number): Promise<void>
  onFollowed(room: Room): void
  report(error: unknown, conversationId: string): void
}

interface Followed {
  room: Room
  queue: WorkQueue
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

interface Left {
  queue: WorkQueue
  position: Room['position']
}

/** Conversations that were left whose position is kept; what was written in others is looked for. */
const LEFT_KEPT = 10_000

/**
 * The conversations that an agent follows: those it is in the room of, at most as many as a connection may join, and
 * those it has left for others, to which it comes back where it was.
 */
export function createFollowing(options: FollowingOptions) {
  const { parley, stopping, self, concerns, handle, onFollowed, report } = options
  const followed = new Map<string, Followed>()
  /** In the order of leaving. */
  const left = new Map<string, Left>()

  /** Resolves once it is in the room, and what waits there is queued; or once that failed, and was reported. */
  async function follow(id: string, activeAt = Date.now()): Promise<void> {
    if (stopping.aborted) return
    const known = followed.get(id)
    await (known ? rejoin(known, activeAt) : enter(id, activeAt)).catch((error: unknown) => report(error, id))
  }

  async function rejoin(entry: Followed, activeAt: number): Promise<void> {
    entry.activeAt = Math.max(entry.activeAt, activeAt)
    if (entry.room.state !== 'away' || entry.returning) return
    entry.returning = true
    await join(entry.room, { signal: stopping }).finally(() => {
      entry.returning = false
    })
  }

  async function enter(id: string, activeAt: number): Promise<void> {
    const before = left.get(id)
    left.delete(id)
    const from = before?.position ?? null
    const queue = before?.queue ?? createWorkQueue((error) => report(error, id))
    const room = parley.conversation(id)
    const gone = anySignal(queue.signal, stopping) ?? stopping
    let backlog: Unanswered = { messages: [], failures: new Map() }
    const inbox = createInbox(
      from?.seq ?? 0,
      (message) => {
        if (concerns(message))
          queue.add(message.id, () => handle(room, message, gone, backlog.failures.get(message.id)))
      },
      (message) => queue.drop(message.id),
    )
    const entry: Followed = { room, queue, inbox, offs: [], activeAt, active: true, from, returning: false }
    followed.set(id, entry)
    listen(entry)
    try {
      const place = from && { afterSeq: from.seq, afterChangeSeq: from.changeSeq }
      const joined = await join(room, { ...place, signal: gone })
      if (!from) backlog = await insist(() => findUnanswered(parley, id, joined, self()), gone)
      // It was left meanwhile.
      if (followed.get(id) !== entry) return
      inbox.settle(backlog.messages, from ? from.seq : joined.lastSeq)
      onFollowed(room)
    } catch (error) {
      report(error, id)
      if (followed.get(id) === entry) await leave(entry)
    }
  }

  function listen(entry: Followed): void {
    const { room, queue, inbox } = entry
    entry.offs = [
      room.on('conversation:removed', () => {
        stopListening(entry)
        queue.end()
        followed.delete(room.id)
        parley.forget(room.id)
      }),
      room.on('state', (state) => {
        if (state === 'away' && parley.state === 'connected') void follow(room.id)
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
  }

  function stopListening(entry: Followed): void {
    for (const off of entry.offs) off()
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

  /** Leaves the room; continues from there as soon as something is written in the conversation. */
  async function leave(entry: Followed): Promise<void> {
    const { room, queue, inbox } = entry
    const { id } = room
    stopListening(entry)
    followed.delete(id)
    const position = inbox.settled ? room.position : entry.from
    if (position) left.set(id, { queue, position })
    const [oldest] = left.keys()
    if (oldest !== undefined && left.size > LEFT_KEPT) left.delete(oldest)
    const leaving = insist(() => room.leave(), stopping)
    parley.forget(id)
    await leaving
    if (inbox.settled) lookBack(id, room.position.seq).catch((error: unknown) => report(error, id))
  }

  /** What was written as it left reached neither the room, where nobody was listening by then, nor came as activity. */
  async function lookBack(id: string, seq: number): Promise<void> {
    const { status, lastSeq } = await insist(
      () => parley.conversations.get(id, { signal: stopping }),
      stopping,
    )
    if (status === 'active' && lastSeq > seq) await follow(id)
  }

  return {
    follow,
    isFollowed: (id: string): boolean => followed.has(id),
    /** Up to which seq a conversation was seen that was left and is not followed; undefined: it is not known. */
    seenUntil: (id: string): number | undefined => left.get(id)?.position.seq,
    /** The agent does not take part any more in a conversation; rooms that are followed learn it themselves. */
    removed(id: string): void {
      left.get(id)?.queue.end()
      left.delete(id)
    },
    /** Resolves when all that is queued by now is done. */
    async idle(): Promise<void> {
      await Promise.all([...followed.values(), ...left.values()].map(({ queue }) => queue.idle()))
    },
  }
}
