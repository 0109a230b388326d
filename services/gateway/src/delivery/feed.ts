import { type Caller, type InternalFillResult, ProblemError, type PublishedData } from '@parley/contract'
import type { TailEvent } from '@parley/events'
import { encodeFrame } from '../connection/frames.ts'
import {
  type ChangePayload,
  changeFrame,
  changeItem,
  newMessageFrame,
  numbersOf,
  PARTICIPANTS,
  payloadOf,
} from './payloads.ts'
import { createRing } from './ring.ts'
import type { Room } from './room.ts'
import { createSequencer, type Position, type Sequencer } from './sequencer.ts'

/** Milliseconds that a gap may last before the api is asked: two api processes write slightly out of order. */
export const GAP_MS = 50
/** A room this far behind is told to fetch the state itself. */
const MAX_BEHIND = 1_000
/** Most events kept for a room whose first join is under way, or behind a gap; any more are fetched later. */
const MAX_HELD = 2_000
const RETRY_MS = { first: 100, max: 2_000 }

export interface FeedMetrics {
  gap(): void
  fill(): void
  resync(): void
}

export interface FeedDependencies {
  /** Asks the api for what comes after these numbers; rejects with `not_found` if the conversation is gone. */
  fetch(conversationId: string, position: Position): Promise<InternalFillResult>
  /** The conversation is gone. */
  onGone(conversationId: string): void
  /** The participants may have changed without an event that said so. */
  onUnsure(room: Room): void
  /** What lies between will not be told: the room's clients were asked to fetch the state. */
  onSkipped(room: Room): void
  /** A message went out. */
  onMessage(room: Room, message: string): void
  /** A message's latest state is about to go out. */
  onMessageChanged(room: Room, message: string): void
  metrics: FeedMetrics
}

/** A join that waits for the api's answer. `stale`: something happened since, so it asks again. */
export interface Attempt {
  stale: boolean
  caller: Caller
}

export type Feed = ReturnType<typeof createFeed>

/** Brings the events of one conversation into order and out to its room, and fetches what is missing. */
export function createFeed(room: Room, dependencies: FeedDependencies) {
  const { metrics } = dependencies
  const attempts = new Set<Attempt>()
  let sequencer: Sequencer<string, ChangePayload | null> | null = null
  let messages = createRing(0)
  let changes = createRing(0)
  let held: TailEvent[] = []
  let timer: NodeJS.Timeout | null = null
  let filling = false
  let closed = false
  let failures = 0

  function open(position: Position): void {
    sequencer = createSequencer(position)
    messages = createRing(position.seq)
    changes = createRing(position.change)
    room.setPosition(position)
    const events = held
    held = []
    for (const event of events) apply(event)
    advance()
  }

  /** Takes one event; what becomes ready goes out with `advance`. */
  function apply(event: TailEvent): void {
    if (!sequencer) {
      held.push(event)
      // Too many to keep: the joins ask the api again, whose answer then covers them.
      if (held.length > MAX_HELD) {
        held = []
        for (const attempt of attempts) attempt.stale = true
      }
      return
    }
    const { type, seq = 0, change = 0, data } = event
    if (type === 'message.void') sequencer.void(seq)
    else if (data === undefined) {
      sequencer.hint({ seq: type === 'message.created' ? seq : 0, change })
      // The entry has no data, so nothing later can close this gap: ask the api now, unless a gap timer or a fill runs.
      if (sequencer.waiting() && !timer) void fill()
    } else if (type === 'message.created') sequencer.message(seq, data)
    else if (change > 0) sequencer.change({ change, ...changeOf(event, change, data) })
  }

  function changeOf(
    { type }: TailEvent,
    change: number,
    data: string,
  ): { payload: ChangePayload | null; about?: number } {
    if (type === 'message.updated' || type === 'message.deleted') {
      const { seq, changeSeq } = numbersOf(data)
      // The message already shows a later change, whose own event tells it.
      if (changeSeq > change) return { payload: null }
      return { about: seq, payload: { kind: type, subject: data, changed: '[]' } }
    }
    if (type === 'conversation.updated' || type === 'participant.added' || type === 'participant.removed') {
      const parsed: PublishedData<typeof type> = JSON.parse(data)
      const changed = 'changed' in parsed ? JSON.stringify(parsed.changed) : PARTICIPANTS
      return { payload: { kind: type, subject: JSON.stringify(parsed.conversation), changed } }
    }
    return { payload: null }
  }

  function advance(): void {
    if (!sequencer || closed) return
    for (const item of sequencer.take()) {
      if (item.kind === 'message') {
        room.send(newMessageFrame(item.message, item.prevSeq), { seq: item.seq })
        messages.push(item.seq, item.message)
        dependencies.onMessage(room, item.message)
      } else if (item.payload) {
        if (item.payload.kind.startsWith('message.')) {
          dependencies.onMessageChanged(room, item.payload.subject)
        }
        room.send(changeFrame(room.conversationId, item.change, item.payload), { change: item.change })
        changes.push(item.change, changeItem(item.change, item.payload))
      }
    }
    room.setPosition(sequencer.position())
    if (sequencer.held() > MAX_HELD) sequencer.drop()
    if (!sequencer.waiting()) disarm()
    else if (!timer && !filling) {
      metrics.gap()
      arm(GAP_MS)
    }
  }

  function arm(ms: number): void {
    timer = setTimeout(() => {
      timer = null
      void fill()
    }, ms)
  }

  function disarm(): void {
    if (timer) clearTimeout(timer)
    timer = null
  }

  /** Fetches until nothing is missing; retries at growing intervals while the api is away. */
  async function fill(): Promise<void> {
    if (!sequencer || closed || filling) return
    filling = true
    disarm()
    let waitMs = 0
    try {
      for (;;) {
        metrics.fill()
        const before = sequencer.position()
        const { seq, change } = before
        const result = await dependencies.fetch(room.conversationId, before)
        if (closed) return
        take(result)
        failures = 0
        if (!sequencer.waiting()) break
        const after = sequencer.position()
        if (after.seq === seq && after.change === change) {
          waitMs = GAP_MS * 4
          break
        }
      }
    } catch (error) {
      if (closed) return
      if (!(error instanceof ProblemError)) throw error
      if (error.code === 'not_found') {
        dependencies.onGone(room.conversationId)
        return
      }
      waitMs = Math.min(RETRY_MS.max, RETRY_MS.first * 2 ** failures++) * (0.5 + Math.random() / 2)
    } finally {
      filling = false
    }
    if (waitMs > 0) arm(waitMs)
  }

  function take(result: InternalFillResult): void {
    if (!sequencer) return
    const { seq, change } = sequencer.position()
    if (result.lastSeq - seq > MAX_BEHIND || result.changeSeq - change > MAX_BEHIND) {
      skipTo({ seq: result.lastSeq, stored: result.lastSeq, change: result.changeSeq })
      return
    }
    sequencer.fill({
      messages: result.messages.map((message) => ({ seq: message.seq, message: JSON.stringify(message) })),
      throughSeq: result.throughSeq,
      changes: result.changes.map((item) => ({
        change: item.changeSeq,
        payload: payloadOf(item),
        ...(item.message ? { about: item.message.seq } : {}),
      })),
      throughChange: result.throughChangeSeq,
    })
    sequencer.hint({ seq: result.lastSeq, change: result.changeSeq })
    if (result.changes.some(({ kind }) => !kind.startsWith('message.'))) dependencies.onUnsure(room)
    advance()
  }

  function skipTo(position: Position): void {
    if (!sequencer) return
    metrics.resync()
    sequencer.jump(position)
    // The room may already have been further in one of the two sequences.
    const at = sequencer.position()
    messages = createRing(at.seq)
    changes = createRing(at.change)
    room.send(
      encodeFrame('resync', JSON.stringify({ conversationId: room.conversationId, reason: 'behind' })),
    )
    room.setPosition(at)
    dependencies.onUnsure(room)
    dependencies.onSkipped(room)
    advance()
  }

  return {
    room,
    attempts,
    open,
    apply,
    advance,
    position: (): Readonly<Position> | null => sequencer?.position() ?? null,
    /** The last change heard of, 0 before it is open. */
    lastChange: (): number => sequencer?.known().change ?? 0,
    /** Takes note that, says the api, the conversation reaches this far. */
    hint(to: { seq: number; change: number }): void {
      sequencer?.hint(to)
      advance()
    },
    /** What went out after this seq, as JSON texts; null if it is no longer kept. */
    messagesSince: (seq: number): string[] | null => messages.since(seq),
    changesSince: (change: number): string[] | null => changes.since(change),
    close(): void {
      closed = true
      disarm()
    },
  }
}
