import { type ProblemError, problem, type StreamEvent } from '@parley/contract'
import type { ObjectId } from 'mongodb'
import type {
  Collections,
  ConversationDocument,
  MessageDocument,
  MessageRow,
} from '../database/collections.ts'
import { isVoid } from '../database/collections.ts'
import type { Folder } from './fold.ts'
import { type Appended, createLanes, type Entry, idempotencyName, type Lane } from './lanes.ts'
import type { Members } from './members.ts'
import { type MessageDraft, toMessage } from './message.ts'
import type { MessageStore, Outcome } from './store.ts'
import { contiguous, nextAgentRun } from './tail.ts'

/** Commands in flight at once; more would make each smaller. */
const CONCURRENT_BATCHES = 4
/** Messages in one command: well below the wire's 48 MB at 64 KiB of content each. */
const BATCH_SIZE = 256
/** Milliseconds after which a send that has no answer yet gets a 503; it may still be stored. */
const SEND_TIMEOUT_MS = 10_000

const HEAD = {
  org: 1,
  status: 1,
  deletedAt: 1,
  membersRev: 1,
  participantCount: 1,
  settledSeq: 1,
  agentRun: 1,
} as const
type Head = Pick<ConversationDocument, '_id' | 'deletedAt' | keyof typeof HEAD>

/** An entry with the number it asks for. */
interface Seat {
  lane: Lane
  entry: Entry
  row: MessageDocument
  /** Messages by agents in a row, this one included. */
  agentRun: number
  /** Participant keys, in conversations of up to 50. */
  to: string[] | undefined
}

export interface AppendRequest {
  org: string
  cid: ObjectId
  draft: MessageDraft
  admin: boolean
}

export interface LogOptions {
  conversations: Collections['conversations']
  store: MessageStore
  members: Members
  folder: Pick<Folder, 'touch' | 'published'>
  publisher: { publish(events: StreamEvent[]): Promise<void> }
  /** Messages by agents in a row after which agents wait for a person. */
  hopLimit: number
  logger: { warn(details: object, message: string): void }
}

export type MessageLog = ReturnType<typeof createMessageLog>

/**
 * The message log: the one place where a message gets its number and is stored.
 *
 * Sends of a conversation that arrive while it has a batch in flight form its next one; batches of different
 * conversations travel in one command. A send is answered once it, and every number below it, is on a majority.
 */
export function createMessageLog(options: LogOptions) {
  const { conversations, store, members, folder, publisher, hopLimit, logger } = options
  const lanes = createLanes()
  const ready = new Set<Lane>()
  let inFlight = 0
  let scheduled = false
  let closed = false
  /** The primary's election that numbers in memory were learnt under. */
  let election: string | undefined

  /**
   * Stores a message, or finds the one stored under the same key.
   * @throws ProblemError not_found, forbidden, conversation_not_active, agent_loop, idempotency_mismatch,
   * validation_failed (a parent elsewhere), unavailable (after 10 s without a definite answer)
   */
  function append({ org, cid, draft, admin }: AppendRequest): Promise<Appended> {
    const lane = lanes.of(cid)
    const { clientMessageId } = draft
    const name = clientMessageId === undefined ? undefined : idempotencyName(draft.author, clientMessageId)
    const twin = name === undefined ? undefined : lane.keys.get(name)
    return new Promise<Appended>((resolve, reject) => {
      const followers: Entry[] = []
      const settle = (): boolean => {
        if (entry.done) return false
        entry.done = true
        clearTimeout(timer)
        if (name !== undefined && lane.keys.get(name) === entry) lane.keys.delete(name)
        return true
      }
      const entry: Entry = {
        org,
        draft,
        admin,
        followers,
        done: false,
        resolve: (result) => {
          if (settle()) resolve(result)
          for (const follower of followers.splice(0)) follower.resolve({ ...result, created: false })
        },
        reject: (refusal) => {
          if (settle()) reject(refusal)
          for (const follower of followers.splice(0)) follower.reject(refusal)
        },
      }
      const timer = setTimeout(() => entry.reject(unavailable()), SEND_TIMEOUT_MS)
      if (closed) entry.reject(unavailable())
      else if (twin && twin.draft.payloadHash !== draft.payloadHash)
        entry.reject(problem('idempotency_mismatch'))
      else if (twin) twin.followers.push(entry)
      else {
        if (name !== undefined) lane.keys.set(name, entry)
        lane.waiting.push(entry)
        if (!lane.busy) offer(lane)
      }
    })
  }

  function offer(lane: Lane): void {
    ready.add(lane)
    if (scheduled || inFlight >= CONCURRENT_BATCHES) return
    scheduled = true
    // One turn of the event loop gathers the requests that have arrived by now.
    setImmediate(depart)
  }

  function depart(): void {
    scheduled = false
    if (ready.size === 0 || inFlight >= CONCURRENT_BATCHES) return
    const batch = new Map<Lane, Entry[]>()
    let size = 0
    for (const lane of ready) {
      if (size >= BATCH_SIZE) break
      ready.delete(lane)
      const entries = board(lane, BATCH_SIZE - size)
      if (entries.length === 0) continue
      size += entries.length
      lane.busy = true
      batch.set(lane, entries)
    }
    if (batch.size > 0) {
      inFlight++
      void travel(batch).finally(() => {
        inFlight--
        if (ready.size > 0 && !scheduled) {
          scheduled = true
          setImmediate(depart)
        }
      })
    }
    if (ready.size > 0 && inFlight < CONCURRENT_BATCHES && !scheduled) {
      scheduled = true
      setImmediate(depart)
    }
  }

  /** Takes at most one message per author: an author's next waits until the one before is definite. */
  function board(lane: Lane, room: number): Entry[] {
    const boarded: Entry[] = []
    const authors = new Set<string>()
    const staying: Entry[] = []
    for (const entry of lane.waiting) {
      if (entry.done) continue
      if (boarded.length >= room || authors.has(entry.draft.author)) {
        staying.push(entry)
        authors.add(entry.draft.author)
        continue
      }
      authors.add(entry.draft.author)
      boarded.push(entry)
    }
    lane.waiting = staying
    return boarded
  }

  function release(lane: Lane): void {
    lane.busy = false
    if (lane.waiting.length > 0) offer(lane)
  }

  async function travel(batch: Map<Lane, Entry[]>): Promise<void> {
    let seats: Seat[]
    const learntUnder = election
    try {
      seats = await number(batch)
    } catch (cause) {
      // Nothing has been written: definite, so a retry is safe even without a key.
      for (const entries of batch.values()) for (const entry of entries) entry.reject(unavailable(cause))
      for (const lane of batch.keys()) release(lane)
      return
    }
    if (seats.length === 0) {
      for (const lane of batch.keys()) release(lane)
      return
    }
    const { outcomes, election: under } = await store.insert(seats.map(({ row }) => row))
    const doubtful = under === undefined || outcomes.includes('unknown')
    const moved = !doubtful && learntUnder !== undefined && under !== learntUnder
    if (!doubtful && election !== under) {
      lanes.forgetNumbers()
      election = under
    }
    const outcomeOf = new Map(seats.map((seat, index) => [seat, outcomes[index] ?? 'unknown']))
    const byLane = Map.groupBy(seats, ({ lane }) => lane)
    for (const lane of batch.keys()) if (!byLane.has(lane)) release(lane)
    await Promise.all(
      [...byLane].map(async ([lane, own]) => {
        try {
          await arrive(lane, own, outcomeOf, { doubtful, moved })
        } catch (cause) {
          // Only when closing down: until then a doubt is cleared up, however long it takes.
          for (const { entry } of own) entry.reject(unavailable(cause))
        }
        release(lane)
      }),
    )
  }

  /** Reads the heads, turns away who may not, and gives everyone else a number. */
  async function number(batch: Map<Lane, Entry[]>): Promise<Seat[]> {
    const parents = [...batch.values()].flatMap((entries) =>
      entries.flatMap(({ draft }) => draft.parentId ?? []),
    )
    const [heads, parentRows] = await Promise.all([
      conversations
        .find<Head>(
          { _id: { $in: [...batch.keys()].map(({ cid }) => cid) } },
          { projection: HEAD, batchSize: 1_000 },
        )
        .toArray(),
      parents.length === 0 ? [] : store.byIds(parents),
    ])
    const headOf = new Map(heads.map((head) => [head._id.toHexString(), head]))
    const present = [...batch].flatMap(([lane, entries]) => {
      const head = headOf.get(lane.id)
      return head ? [{ ...head, cid: lane.cid, authors: entries.map(({ draft }) => draft.author) }] : []
    })
    const contended = [...batch.keys()].filter((lane) => lane.contended && headOf.has(lane.id))
    const [tails] = await Promise.all([
      store.tails(
        contended.map((lane) => ({ cid: lane.cid, settledSeq: headOf.get(lane.id)?.settledSeq ?? 0 })),
        { seq: 1, cid: 1, author: 1, void: 1 },
      ),
      members.load(present),
    ])
    const tailOf = Map.groupBy(tails, ({ cid }) => cid.toHexString())
    const parentOf = new Map(parentRows.map((row) => [row._id.toHexString(), row]))

    const now = new Date()
    const seats: Seat[] = []
    const refused: { lane: Lane; entry: Entry; refusal: ProblemError }[] = []
    for (const [lane, entries] of batch) {
      const head = headOf.get(lane.id)
      const tailRead = lane.contended
      const again: Entry[] = []
      let { seq, agentRun } = head ? place(lane, head, tailOf.get(lane.id) ?? []) : { seq: 0, agentRun: 0 }
      for (const entry of entries) {
        if (entry.done) continue
        const refusal = refuse(entry, head, agentRun, parentOf)
        if (refusal?.code === 'agent_loop' && !tailRead) {
          // A person may have written through another process: only the tail can tell.
          again.push(entry)
          continue
        }
        if (refusal || !head) {
          refused.push({ lane, entry, refusal: refusal ?? problem('not_found') })
          continue
        }
        seq++
        agentRun = nextAgentRun(agentRun, entry.draft.author)
        const row: MessageDocument = {
          ...entry.draft,
          cid: lane.cid,
          org: entry.org,
          seq,
          createdAt: now,
          unsettled: true,
        }
        if (row.status === 'streaming') row.streamedAt = now
        seats.push({ lane, entry, row, agentRun, to: members.recipients(head.membersRev) })
      }
      if (again.length > 0) {
        lane.contended = true
        lane.waiting.unshift(...again)
      }
    }
    await Promise.all(refused.map(({ lane, entry, refusal }) => turnAway(lane, entry, refusal)))
    return seats
  }

  /** The last number taken, and the run of agents up to it. */
  function place(lane: Lane, head: Head, tail: readonly MessageRow[]): { seq: number; agentRun: number } {
    if (lane.contended) {
      lane.contended = false
      const rows = contiguous(head.settledSeq, tail)
      const agentRun = rows.reduce(
        (run, row) => (isVoid(row) ? run : nextAgentRun(run, row.author)),
        head.agentRun,
      )
      return { seq: head.settledSeq + rows.length, agentRun }
    }
    if (lane.known && lane.known.seq >= head.settledSeq) return lane.known
    return { seq: head.settledSeq, agentRun: head.agentRun }
  }

  function refuse(
    entry: Entry,
    head: Head | undefined,
    agentRun: number,
    parentOf: Map<string, MessageRow>,
  ): ProblemError | null {
    const { draft } = entry
    if (!head || head.org !== entry.org || head.deletedAt) return problem('not_found')
    const role = members.role(head.membersRev, draft.author)
    if (!role) return problem(entry.admin ? 'forbidden' : 'not_found')
    if (role === 'observer') return problem('forbidden', { detail: 'Observers read, and do not write' })
    if (head.status !== 'active') return problem('conversation_not_active')
    if (draft.parentId) {
      const parent = parentOf.get(draft.parentId.toHexString())
      if (!parent || isVoid(parent) || !parent.cid.equals(head._id)) {
        return problem('validation_failed', {
          errors: [{ pointer: '/parentId', detail: 'must name a message of the same conversation' }],
        })
      }
    }
    if (draft.author.startsWith('agent:') && agentRun >= hopLimit) return problem('agent_loop')
    return null
  }

  /** Idempotency outlives a closed conversation: who still takes part gets the original before the refusal. */
  async function turnAway(lane: Lane, entry: Entry, refusal: ProblemError): Promise<void> {
    const { clientMessageId, author } = entry.draft
    if (refusal.code === 'not_found' || clientMessageId === undefined) {
      entry.reject(refusal)
      return
    }
    const original = await store.byKey(lane.cid, author, clientMessageId)
    if (original) repeat(entry, original)
    else entry.reject(refusal)
  }

  /** What the insert's answer means for one conversation. */
  async function arrive(
    lane: Lane,
    seats: Seat[],
    outcomeOf: Map<Seat, Outcome>,
    { doubtful, moved }: { doubtful: boolean; moved: boolean },
  ): Promise<void> {
    const [first] = seats
    if (!first) return
    if (doubtful) {
      await clearUp(lane, seats)
      return
    }
    if (moved && first.row.seq > 1) {
      // The number below was learnt under another primary: it must be there before anything above it counts.
      await insist(() => store.seal({ ...first.row, seq: first.row.seq - 1 }))
    }
    const stored = seats.filter((seat) => outcomeOf.get(seat) === 'stored')
    const others = seats.filter((seat) => outcomeOf.get(seat) !== 'stored')
    if (others.length === 0) {
      const last = stored.at(-1)
      lane.known = last && { seq: last.row.seq, agentRun: last.agentRun }
      acknowledge(stored)
      return
    }
    lane.known = undefined
    lane.contended = true
    const top = stored.at(-1)?.row.seq ?? 0
    const again: Entry[] = []
    const holes: Seat[] = []
    for (const seat of others) {
      if (outcomeOf.get(seat) === 'seq_taken') again.push(seat.entry)
      else if (seat.row.seq < top) holes.push(seat)
    }
    await Promise.all(holes.map(async ({ row }) => publishVoid(await insist(() => store.seal(row)))))
    acknowledge(stored)
    lane.waiting.unshift(...again)
    await Promise.all(
      others.map(async (seat) => {
        const outcome = outcomeOf.get(seat)
        if (outcome === 'key_taken') await resolveRepeat(seat)
        else if (outcome === 'id_taken') await resolveOwn(seat)
      }),
    )
  }

  /**
   * An insert whose outcome nobody knows. Each number is looked up and, where it is free, sealed: then its message
   * can never come to be there, and may ask for another one.
   */
  async function clearUp(lane: Lane, seats: Seat[]): Promise<void> {
    lane.known = undefined
    lane.contended = true
    const again: Entry[] = []
    const stored: Seat[] = []
    for (const seat of seats) {
      const there = await insist(() => store.seal(seat.row))
      if (there._id.equals(seat.row._id)) stored.push(seat)
      else {
        if (isVoid(there)) publishVoid(there)
        again.push(seat.entry)
      }
    }
    acknowledge(stored)
    lane.waiting.unshift(...again)
  }

  /** Tries until the database answers; the lane stays closed meanwhile, and its senders time out. */
  async function insist<T>(attempt: () => Promise<T>): Promise<T> {
    for (let pause = 50; ; pause = Math.min(pause * 2, 1_000)) {
      try {
        return await attempt()
      } catch (error) {
        if (closed) throw error
        logger.warn({ err: error }, 'the message log waits for the database')
        await new Promise((resolve) => setTimeout(resolve, pause))
      }
    }
  }

  function acknowledge(seats: readonly Seat[]): void {
    if (seats.length === 0) return
    const events = seats.map(({ entry, row, lane, to }): StreamEvent => {
      const message = toMessage(row)
      const data = JSON.stringify(message)
      entry.resolve({ row, message, json: data, created: true })
      folder.touch(lane.cid)
      const event: StreamEvent = { type: 'message.created', org: row.org, cid: lane.id, seq: row.seq, data }
      if (to) event.to = to
      return event
    })
    const rows = seats.map(({ row }) => row)
    publisher.publish(events).then(
      () => folder.published(rows),
      // The rows stay unsettled, and the sweeper publishes them.
      (error: unknown) => logger.warn({ err: error, count: rows.length }, 'messages wait to be published'),
    )
  }

  function publishVoid(row: MessageRow): void {
    if (!isVoid(row)) return
    folder.touch(row.cid)
    const event: StreamEvent = {
      type: 'message.void',
      org: row.org,
      cid: row.cid.toHexString(),
      seq: row.seq,
      data: 'null',
    }
    publisher.publish([event]).then(
      () => folder.published([row]),
      (error: unknown) => logger.warn({ err: error }, 'a void number waits to be published'),
    )
  }

  async function resolveRepeat({ lane, entry }: Seat): Promise<void> {
    const { author, clientMessageId } = entry.draft
    if (clientMessageId === undefined) return
    // Whoever stored the original may not have it on a majority yet.
    const original = await insist(async () => {
      for (let attempt = 0; attempt < 20; attempt++) {
        const found = await store.byKey(lane.cid, author, clientMessageId)
        if (found) return found
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
      return null
    })
    if (original) repeat(entry, original)
    else lane.waiting.unshift(entry)
  }

  async function resolveOwn({ lane, entry, row }: Seat): Promise<void> {
    const [own] = await insist(() => store.byIds([row._id]))
    if (own && !isVoid(own)) repeat(entry, own, true)
    else lane.waiting.unshift(entry)
  }

  return {
    append,
    /** Sends that have no answer yet. */
    pending: (): boolean => inFlight > 0 || ready.size > 0,
    /** Refuses what comes, and gives up on a database that does not answer. */
    close(): void {
      closed = true
    },
  }
}

function repeat(entry: Entry, row: MessageDocument, created = false): void {
  if (row.payloadHash !== entry.draft.payloadHash) {
    entry.reject(problem('idempotency_mismatch'))
    return
  }
  const message = toMessage(row)
  entry.resolve({ row, message, json: JSON.stringify(message), created })
}

const unavailable = (cause?: unknown): ProblemError =>
  problem('unavailable', { detail: 'The database did not answer in time', retryAfter: 1, cause })
