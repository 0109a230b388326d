import type {
  Change,
  ConversationField,
  JoinResult,
  Message,
  Online,
  ReadResult,
  ServerEvent,
  ServerPayload,
} from '@parley/contract'
import { createCatchUp } from './catch-up.ts'
import type { Connection } from './connection.ts'
import { createEmitter, type Emitter } from './emitter.ts'
import { isGone, ParleyError, toParleyError } from './errors.ts'
import { createLiveText } from './live-text.ts'
import { createMessageQueue } from './message-queue.ts'
import { createReader } from './reader.ts'
import type { Rest } from './rest.ts'
import type { Sender } from './sender.ts'
import { createTimeline } from './timeline.ts'
import { abortedBy, anySignal, backoff, raceSignal, randomId, sleep } from './timing.ts'
import type { CallOptions, MessageInput, SendOptions, StreamProgress } from './types.ts'
import { createTypist } from './typist.ts'
import { createTypists } from './typists.ts'

export type RoomState = 'out' | 'joining' | 'live' | 'filling' | 'away' | 'removed'

export interface RoomEvents {
  /** Each stored message once, in rising seq. A placeholder of a streamed answer has status `streaming`. */
  'message:new': Message
  /** A newer state of a message that came before: edited, or the end of a streamed answer. */
  'message:updated': Message
  'message:deleted': Message
  /** An answer being written. */
  'message:stream': StreamProgress
  'message:receipt': ServerPayload<'message:receipt'>
  /** To agents: a participant wants this answer to end. */
  'message:cancel': ServerPayload<'message:cancel'>
  'user:typing': ServerPayload<'user:typing'>
  'user:joined': ServerPayload<'user:joined'>
  'user:left': ServerPayload<'user:left'>
  'conversation:updated': ServerPayload<'conversation:updated'>
  /** No more events come. */
  'conversation:removed': ServerPayload<'conversation:removed'>
  /** Each time the room was joined: at first, and after each reconnect. */
  joined: JoinResult
  state: RoomState
}

/** Where to begin in a room that is not followed yet. */
export interface Place {
  /** Also deliver what came after this seq. Left out: after where the room was left; at first, from now on. */
  afterSeq?: number | undefined
  /** Also tell what changed after this change. Left out: after where the room was left; at first, from now on. */
  afterChangeSeq?: number | undefined
}

export interface JoinOptions extends Place, CallOptions {}

export interface Room {
  readonly id: string
  readonly state: RoomState
  /** Where this reader stands: everything up to here was delivered. Kept by the caller, it resumes a later session. */
  readonly position: { seq: number; changeSeq: number }
  readonly on: Emitter<RoomEvents>['on']
  readonly once: Emitter<RoomEvents>['once']
  /**
   * Starts following; resolves with what the server said. From then on reconnects resume by themselves. Where it is
   * refused, the room is as it was before; `aborted` where it is left meanwhile. The signal ends the caller's wait; a
   * room that nobody else waits for, and that was not followed, is left again.
   */
  join(options?: JoinOptions): Promise<JoinResult>
  /** Stops following. */
  leave(): Promise<void>
  /** Resolves once the message is stored; see SendOptions for how long it tries. */
  send(message: MessageInput, options?: SendOptions): Promise<Message>
  /**
   * Messages from now on, in order, until the loop is left, the signal fires, or the room is left or gone. A loop may
   * begin before the room is joined.
   */
  messages(options?: CallOptions): AsyncIterableIterator<Message>
  /** Tells the others that the caller types; call it on each key. Ends by itself, or with false. */
  typing(isTyping?: boolean): void
  /** Marks everything up to `seq` as read; of calls in quick succession the highest goes out. */
  read(seq?: number): Promise<ReadResult>
  online(): Promise<Online>
  /** Ends an agent's answer that is being written; while there is no connection, on the next one. */
  cancel(messageId: string, options?: CallOptions): Promise<void>
}

/** A room with the methods that the client needs. */
export interface RoomInside extends Room {
  receive(event: ServerEvent, payload: unknown): void
  /** There is a new connection: joins again if it is followed. */
  rejoin(): void
  /** The connection is gone. */
  lost(): void
  /** The client passes nothing on to it any more: joined again, it would wait for ever. */
  retire(): void
}

export interface RoomDependencies {
  connection: Connection
  rest: Rest
  sender: Sender
  role: 'user' | 'assistant'
  closed: AbortSignal
  /** Another room has taken this one's place. */
  isReplaced(): boolean
}

/** Where a change is learnt of afterwards, it isn't known which of these it touched. */
const ANY_FIELD = Object.keys({
  title: true,
  description: true,
  tags: true,
  metadata: true,
  status: true,
  participants: true,
  contextSummary: true,
  summaryCoversSeq: true,
} satisfies Record<ConversationField, true>) as ConversationField[]
/** Changes ahead of the contiguous ones at which the position is brought up by asking. */
const CHANGES_AHEAD = 64

export function createRoom(id: string, deps: RoomDependencies): RoomInside {
  const { connection, rest, sender, closed } = deps
  const events = createEmitter<RoomEvents>()
  const queue = createMessageQueue()
  const liveText = createLiveText()
  const typist = createTypist((isTyping) =>
    connection.tell('message:typing', { conversationId: id, isTyping }),
  )
  const typists = createTypists((typing) => events.emit('user:typing', typing))
  const reader = createReader(async (seq) => {
    if (connection.state === 'connected') {
      try {
        return await connection.request('message:read', { conversationId: id, seq })
      } catch (error) {
        if (!toParleyError(error).retryable) throw error
      }
    }
    return rest.conversations.read(id, seq)
  })
  const timeline = createTimeline({
    isFollowed: () => followed,
    message(message) {
      if (message.status !== 'streaming') liveText.forget(message.id)
      typists.wrote(message)
      events.emit('message:new', message)
      queue.push(message)
    },
    update(message) {
      if (message.status !== 'streaming') liveText.forget(message.id)
      events.emit(message.deletedAt ? 'message:deleted' : 'message:updated', message)
    },
  })

  let state: RoomState = 'out'
  /** Joined, and not left since. Only then what comes is handed out, and each connection joins again. */
  let followed = false
  /** In the room, on this connection. */
  let isIn = false
  let retired = false
  /** Ever joined: the timeline says where. */
  let started = false
  /** The join under way, which all who ask for one share. */
  let joining: Promise<JoinResult> | null = null
  /** Callers that wait for a join. */
  let waiting = 0
  /** Fires when the room is left: a join that began before comes to nothing. */
  let stay = new AbortController()
  /** What comes right behind a join's acknowledgement waits until that one is worked off. */
  let behindJoin: (() => void)[] | null = null

  function setState(next: RoomState): void {
    if (state === next) return
    state = next
    events.emit('state', next)
  }

  async function enter(place: Place, stayed: AbortSignal): Promise<JoinResult> {
    const known: Place = started ? { afterSeq: timeline.seq, afterChangeSeq: timeline.changeSeq } : {}
    const placed = place.afterSeq !== undefined || place.afterChangeSeq !== undefined
    const anew = !started || (!followed && placed)
    const { afterSeq, afterChangeSeq } = anew ? place : known
    const from = {
      afterSeq: afterSeq ?? known.afterSeq,
      afterChangeSeq: afterChangeSeq ?? known.afterChangeSeq,
    }
    const held: (() => void)[] = []
    behindJoin = held
    try {
      const payload = { conversationId: id, ...from }
      const result = await connection.request('conversation:join', payload, { signal: stayed })
      if (stayed.aborted) throw abortedBy(stayed)
      if (anew) timeline.startAt(from.afterSeq ?? result.lastSeq, from.afterChangeSeq ?? result.changeSeq)
      started = true
      followed = true
      isIn = true
      entered(result, stayed)
      return result
    } finally {
      if (behindJoin === held) behindJoin = null
      if (!stayed.aborted && !closed.aborted) for (const handle of held) handle()
    }
  }

  function entered(result: JoinResult, stayed: AbortSignal): void {
    timeline.page(result.messages, result.hasMore ? 0 : result.lastSeq)
    for (const change of result.changes) applyChange(change)
    // A listener may have left.
    if (stayed.aborted) return
    events.emit('joined', result)
    for (const receipt of result.receipts) {
      if (followed) events.emit('message:receipt', receipt)
    }
    if (stayed.aborted) return
    if (result.hasMore) catchUp.start(result.lastSeq, result.changeSeq)
    else timeline.changesThrough(result.changeSeq)
    setState(catchUp.running ? 'filling' : 'live')
  }

  /** On this connection or a later one, until it is done or refused. */
  async function untilDone<T>(work: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
    for (let failures = 1; ; failures++) {
      await connection.connect(signal)
      try {
        return await work()
      } catch (thrown) {
        const error = toParleyError(thrown)
        if (!error.retryable) throw error
        await sleep(backoff(failures, error.retryAfterMs), signal)
      }
    }
  }

  async function joinUntilDone(place: Place, stayed: AbortSignal): Promise<JoinResult> {
    const join = async () => {
      const result = await enter(place, stayed)
      // A listener may have left at what came with it.
      if (stayed.aborted) throw abortedBy(stayed)
      return result
    }
    return untilDone(join, anySignal(stayed, closed))
  }

  function follow(place: Place = {}): Promise<JoinResult> {
    if (joining) return joining
    const before = state
    const stayed = stay.signal
    const attempt = joinUntilDone(place, stayed)
      .finally(() => {
        if (joining === attempt) joining = null
      })
      .catch((error: unknown) => {
        // If it was left meanwhile, the leave has reported the state.
        if (!stayed.aborted) refused(toParleyError(error), before)
        throw error
      })
    joining = attempt
    setState('joining')
    return attempt
  }

  /** A room that is followed may do better on the next connection, unless the conversation is gone. */
  function refused(error: ParleyError, before: RoomState): void {
    if (!followed) setState(before)
    else if (isGone(error)) gone()
    else setState('away')
  }

  /** Whatever was under way here comes to nothing. */
  function stop(next: 'out' | 'removed', why: ParleyError): void {
    followed = false
    isIn = false
    stay.abort(why)
    stay = new AbortController()
    joining = null
    catchUp.stop()
    setState(next)
    typist.stop()
    typists.clear()
    liveText.clear()
  }

  function removed(payload: ServerPayload<'conversation:removed'>): void {
    stop('removed', new ParleyError('not_found', 'The conversation is gone'))
    events.emit('conversation:removed', payload)
    queue.end()
  }
  const gone = () => removed({ conversationId: id, reason: 'removed' })

  async function depart(): Promise<void> {
    stop('out', new ParleyError('aborted', 'The room was left'))
    if (connection.state !== 'connected' || deps.isReplaced()) return
    try {
      await connection.request('conversation:leave', { conversationId: id })
    } catch (error) {
      // Without an answer the connection is gone, and with it whoever was in the room.
      if (toParleyError(error).status > 0) throw error
    }
  }

  function applyChange(change: Change): void {
    if (!followed) return
    if (change.message) {
      timeline.changed(change.message)
      return
    }
    if (!change.conversation) {
      timeline.change(change.changeSeq)
      return
    }
    if (!timeline.conversationChanged(change.changeSeq)) return
    events.emit('conversation:updated', {
      conversationId: id,
      changeSeq: change.changeSeq,
      changed: ANY_FIELD,
      conversation: change.conversation,
    })
  }

  const catchUp = createCatchUp({
    conversationId: id,
    rest,
    timeline,
    applyChange,
    closed,
    onStart: () => setState('filling'),
    onDone: () => {
      // A join under way tells the state itself.
      if (followed && !joining) setState(isIn ? 'live' : 'away')
    },
    onGone: gone,
  })

  function inOrder(apply: () => void): void {
    catchUp.inOrder(() => {
      if (followed) apply()
    })
    if (!catchUp.running && timeline.changesAhead > CHANGES_AHEAD) catchUp.start()
  }

  const handlers: { [E in ServerEvent]?: (payload: ServerPayload<E>) => void } = {
    'message:new': ({ prevSeq, ...message }) => {
      if (!timeline.live(message, prevSeq)) catchUp.start(prevSeq)
    },
    'message:updated': (message) => inOrder(() => timeline.changed(message)),
    'message:deleted': (message) => inOrder(() => timeline.changed(message)),
    'conversation:updated': (update) =>
      inOrder(() => {
        if (timeline.conversationChanged(update.changeSeq)) events.emit('conversation:updated', update)
      }),
    'message:stream': (update) => {
      const progress = liveText.apply(update)
      if (progress) events.emit('message:stream', progress)
    },
    'message:receipt': (receipt) => events.emit('message:receipt', receipt),
    'message:cancel': (cancel) => events.emit('message:cancel', cancel),
    'user:typing': typists.apply,
    'user:joined': (joined) => events.emit('user:joined', joined),
    'user:left': (left) => events.emit('user:left', left),
    'conversation:removed': removed,
    resync: () => catchUp.start(),
  }

  return {
    id,
    get state() {
      return state
    },
    get position() {
      return { seq: timeline.seq, changeSeq: timeline.changeSeq }
    },
    on: events.on,
    once: events.once,
    receive(event, payload) {
      const handler: ((payload: never) => void) | undefined = handlers[event]
      if (!handler) return
      const handle = () => {
        if (followed || event === 'message:cancel') handler(payload as never)
      }
      if (behindJoin) behindJoin.push(handle)
      else handle()
    },
    rejoin() {
      // The state tells the outcome.
      if (followed && !joining) follow().catch(() => undefined)
    },
    retire() {
      retired = true
      queue.end()
    },
    lost() {
      isIn = false
      typist.stop()
      typists.clear()
      if (followed) setState('away')
    },
    async join({ signal, ...place } = {}) {
      if (signal?.aborted) throw abortedBy(signal)
      if (retired)
        throw new ParleyError('closed', 'The client was told to forget this room: ask it for another')
      const before = followed
      waiting += 1
      try {
        return await raceSignal(follow(place), signal)
      } catch (error) {
        // All who waited for it gave up. Where the leave is refused, what still comes is dropped.
        const unwanted = waiting === 1 && !before && signal?.aborted
        if (unwanted && (joining || followed)) depart().catch(() => undefined)
        throw error
      } finally {
        waiting -= 1
      }
    },
    leave() {
      const left = depart()
      queue.end()
      return left
    },
    send(input, options) {
      typist.sent()
      const draft = typeof input === 'string' ? { content: input } : input
      return sender.send(
        {
          role: deps.role,
          ...draft,
          conversationId: id,
          clientMessageId: draft.clientMessageId ?? randomId(),
        },
        options,
      )
    },
    messages(options = {}) {
      const messages = queue.iterate(anySignal(options.signal, closed))
      if (state === 'removed' || retired) queue.end()
      return messages
    },
    typing: (isTyping = true) => typist.type(isTyping),
    read: (seq = timeline.seq) => reader.read(seq),
    online: () => connection.request('conversation:online', { conversationId: id }),
    async cancel(messageId, { signal: given } = {}) {
      const signal = anySignal(given, closed)
      const payload = { conversationId: id, messageId }
      await untilDone(() => connection.request('message:cancel', payload, { signal }), signal)
    },
  }
}
