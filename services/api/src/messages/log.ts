import { type ProblemError, type PublishedEvent, problem } from '@parley/contract'
import type { Publisher } from '@parley/events'
import type { Logger } from '@parley/service-kit'
import { BSON, type ObjectId } from 'mongodb'
import type { Collections, MessageDocument, VoidDocument } from '../database/collections.ts'
import { isVoid } from '../database/collections.ts'
import type { ReadPositions } from '../participants/read-positions.ts'
import { type Admitted, createAdmission } from './admission.ts'
import type { HeadUpdater } from './head-updater.ts'
import { type Appended, createLanes, type Entry, idempotencyName, type Lane } from './lanes.ts'
import { eventOf, type MessageDraft, toMessage } from './message.ts'
import type { ParticipantCache } from './participant-cache.ts'
import type { InsertOutcome, MessageStore } from './store.ts'
import type { Sweeper } from './sweeper.ts'
import { createOutcomeResolver } from './unknown-outcomes.ts'

/** Commands in flight at once; more would make each smaller. */
const CONCURRENT_BATCHES = 4
/** Messages in one command. */
const BATCH_SIZE = 256
/**
 * Bytes of BSON after which a command takes no more. The largest message, a request of 1 MiB full of small numbers, has
 * 6 MiB, so that a command stays below its 16 MiB.
 */
const BATCH_BYTES = 8 * 1024 * 1024
/** Milliseconds after which an unanswered send gets a 503; it may still be stored. */
const SEND_TIMEOUT_MS = 10_000
/**
 * Milliseconds that a conversation waits after so many batches of which nothing was stored. What MongoDB refuses for
 * good would otherwise turn into void after void until its sender is told.
 */
const pauseMs = (setbacks: number): number => Math.min(10 * 2 ** (setbacks - 1), 1_000)

/** What one command still takes; its last message may exceed it. */
interface Budget {
  messages: number
  bytes: number
}
const isUsedUp = ({ messages, bytes }: Budget): boolean => messages === 0 || bytes <= 0

export interface AppendRequest {
  org: string
  cid: ObjectId
  draft: MessageDraft
  admin: boolean
}

export interface LogOptions {
  conversations: Collections['conversations']
  store: MessageStore
  participantCache: ParticipantCache
  headUpdater: Pick<HeadUpdater, 'touch' | 'markPublished'>
  publisher: Pick<Publisher, 'publish'>
  sweeper: Pick<Sweeper, 'note'>
  readPositions: Pick<ReadPositions, 'note'>
  /** Messages by agents in a row after which agents wait for a person. */
  hopLimit: number
  logger: Pick<Logger, 'warn'>
}

export type MessageLog = ReturnType<typeof createMessageLog>

/**
 * The message log: the one place where a message gets its number and is stored.
 *
 * Sends of a conversation that arrive while it has a batch in flight form its next one; batches of different
 * conversations go in one command. A send is answered once it, and every number below it, is on a majority.
 */
export function createMessageLog(options: LogOptions) {
  const { store, headUpdater, publisher, sweeper, readPositions, logger } = options
  const admit = createAdmission(options)
  const resolver = createOutcomeResolver(options)
  const lanes = createLanes()
  const ready = new Set<Lane>()
  let inFlight = 0
  let scheduled = false
  let closed = false
  /** Whether the last events failed to get through. */
  let failing = false
  /** The primary's election that numbers in memory were learnt under. */
  let election: string | undefined

  /**
   * Stores a message, or finds the one stored under the same key.
   * @throws ProblemError not_found, forbidden, conversation_not_active, agent_loop, idempotency_mismatch,
   * validation_failed (a parent elsewhere), unavailable (after 10 s without a definite answer)
   */
  async function append(request: AppendRequest): Promise<Appended> {
    const appended = await enter(request)
    const { cid, org, author: key, seq } = appended.row
    // Who sends has read up to there. Noted for repeats too: whoever stored the message may have died before that.
    readPositions.note({ cid, org, key, seq })
    return appended
  }

  function enter({ org, cid, draft, admin }: AppendRequest): Promise<Appended> {
    const lane = lanes.of(org, cid)
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
        bytes: BSON.calculateObjectSize(draft),
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
      const timer = setTimeout(() => {
        entry.reject(unavailable())
        leave(lane, entry)
      }, SEND_TIMEOUT_MS)
      if (closed) entry.reject(unavailable())
      else if (twin && twin.draft.payloadHash !== draft.payloadHash)
        entry.reject(problem('idempotency_mismatch'))
      else if (twin) twin.followers.push(entry)
      else {
        if (name !== undefined) lane.keys.set(name, entry)
        lane.waiting.push(entry)
        if (!lane.busy) enqueue(lane)
      }
    })
  }

  /** A send given up on leaves the queue: the batch before it may be under way for as long as the database is away. */
  function leave(lane: Lane, entry: Entry): void {
    const at = lane.waiting.indexOf(entry)
    if (at >= 0) lane.waiting.splice(at, 1)
    if (lane.waiting.length === 0) ready.delete(lane)
  }

  function enqueue(lane: Lane): void {
    ready.add(lane)
    schedule()
  }

  function schedule(): void {
    if (scheduled || ready.size === 0 || inFlight >= CONCURRENT_BATCHES) return
    scheduled = true
    // One turn of the event loop gathers the requests that have arrived by now.
    setImmediate(startBatch)
  }

  function startBatch(): void {
    scheduled = false
    const batch = new Map<Lane, Entry[]>()
    const budget = { messages: BATCH_SIZE, bytes: BATCH_BYTES }
    for (const lane of ready) {
      if (isUsedUp(budget)) break
      ready.delete(lane)
      const entries = takeFrom(lane, budget)
      if (entries.length === 0) continue
      lane.busy = true
      batch.set(lane, entries)
    }
    if (batch.size > 0) {
      inFlight++
      void runBatch(batch).finally(() => {
        inFlight--
        schedule()
      })
    }
    schedule()
  }

  /**
   * Takes as many as the budget allows, at most one message per author: an author's next waits until the outcome of the
   * one before is known.
   */
  function takeFrom(lane: Lane, budget: Budget): Entry[] {
    const taken: Entry[] = []
    const authors = new Set<string>()
    const rest: Entry[] = []
    for (const entry of lane.waiting) {
      if (entry.done) continue
      if (isUsedUp(budget) || authors.has(entry.draft.author)) {
        rest.push(entry)
        authors.add(entry.draft.author)
        continue
      }
      authors.add(entry.draft.author)
      taken.push(entry)
      budget.messages--
      budget.bytes -= entry.bytes
    }
    lane.waiting = rest
    return taken
  }

  function release(lane: Lane): void {
    lane.busy = false
    if (lane.waiting.length > 0) enqueue(lane)
  }

  async function runBatch(batch: Map<Lane, Entry[]>): Promise<void> {
    let admitted: Admitted[]
    const learntUnder = election
    try {
      const admission = await admit(batch)
      await Promise.all(admission.refused.map(({ lane, entry, refusal }) => refuse(lane, entry, refusal)))
      admitted = admission.admitted
    } catch (cause) {
      // Nothing has been written, for certain, so a retry is safe even without a key.
      for (const entries of batch.values()) for (const entry of entries) entry.reject(unavailable(cause))
      for (const lane of batch.keys()) release(lane)
      return
    }
    if (admitted.length === 0) {
      for (const lane of batch.keys()) release(lane)
      return
    }
    const { outcomes, election: under, cause } = await store.insert(admitted.map(({ row }) => row))
    const unknown = under === undefined || outcomes.includes('unknown')
    if (unknown) logger.warn({ err: cause }, 'it is not known yet whether messages are stored')
    const moved = !unknown && learntUnder !== undefined && under !== learntUnder
    if (!unknown && election !== under) {
      lanes.forgetNumbers()
      election = under
    }
    const outcomeOf = new Map(admitted.map((item, index) => [item, outcomes[index] ?? 'unknown']))
    const byLane = Map.groupBy(admitted, ({ lane }) => lane)
    for (const lane of batch.keys()) if (!byLane.has(lane)) release(lane)
    await Promise.all(
      [...byLane].map(async ([lane, own]) => {
        try {
          await applyOutcomes(lane, own, outcomeOf, { unknown, moved })
        } catch (cause) {
          // Only when closing down: until then the resolver tries for as long as it takes.
          for (const { entry } of own) entry.reject(unavailable(cause))
        }
        // Beside the batch, which would keep one of the few commands in flight from everybody else.
        if (lane.setbacks > 0) setTimeout(release, pauseMs(lane.setbacks), lane).unref()
        else release(lane)
      }),
    )
  }

  /** Idempotency outlives a closed conversation: participants get the original rather than the refusal. */
  async function refuse(lane: Lane, entry: Entry, refusal: ProblemError): Promise<void> {
    const { clientMessageId, author } = entry.draft
    if (refusal.code === 'not_found' || clientMessageId === undefined) {
      entry.reject(refusal)
      return
    }
    const original = await store.byKey(lane.cid, author, clientMessageId)
    if (original) await repeatOf(entry, original)
    else entry.reject(refusal)
  }

  /** What the insert's answer means for one conversation. */
  async function applyOutcomes(
    lane: Lane,
    admitted: Admitted[],
    outcomeOf: Map<Admitted, InsertOutcome>,
    { unknown, moved }: { unknown: boolean; moved: boolean },
  ): Promise<void> {
    const [first] = admitted
    if (!first) return
    if (unknown) {
      await resolveUnknown(lane, admitted)
      return
    }
    lane.setbacks = 0
    if (moved && first.row.seq > 1) {
      // The number below was learnt under another primary: it must be there before anything above it counts.
      await resolver.seal({ ...first.row, seq: first.row.seq - 1 })
    }
    const stored = admitted.filter((item) => outcomeOf.get(item) === 'stored')
    const others = admitted.filter((item) => outcomeOf.get(item) !== 'stored')
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
    const holes: Admitted[] = []
    for (const item of others) {
      if (outcomeOf.get(item) === 'seq_taken') again.push(item.entry)
      else if (item.row.seq < top) holes.push(item)
    }
    await Promise.all(
      holes.map(async ({ row }) => {
        const there = await resolver.seal(row)
        if (isVoid(there)) publishVoid(there)
      }),
    )
    acknowledge(stored)
    lane.waiting.unshift(...again)
    await Promise.all(
      others.map(async (item) => {
        const outcome = outcomeOf.get(item)
        if (outcome === 'key_taken') await resolveRepeat(item)
        else if (outcome === 'id_taken') await resolveOwn(item)
      }),
    )
  }

  /** An insert whose outcome is unknown: once decided, messages that were not stored ask for another number. */
  async function resolveUnknown(lane: Lane, admitted: readonly Admitted[]): Promise<void> {
    lane.known = undefined
    lane.contended = true
    const { stored, voids } = await resolver.decide(admitted.map(({ row }) => row))
    for (const row of voids) publishVoid(row)
    acknowledge(admitted.filter(({ row }) => stored.has(row)))
    lane.waiting.unshift(...admitted.filter(({ row }) => !stored.has(row)).map(({ entry }) => entry))
    lane.setbacks = stored.size === 0 ? lane.setbacks + 1 : 0
  }

  async function resolveRepeat({ lane, entry }: Admitted): Promise<void> {
    const { author, clientMessageId } = entry.draft
    if (clientMessageId === undefined) return
    const original = await resolver.original(lane.cid, author, clientMessageId)
    if (original) await repeatOf(entry, original)
    else lane.waiting.unshift(entry)
  }

  /** A repeat too is answered only once every lower number is decided. */
  async function repeatOf(entry: Entry, original: MessageDocument): Promise<void> {
    for (const row of await resolver.below(original)) publishVoid(row)
    repeat(entry, original)
  }

  async function resolveOwn({ lane, entry, row }: Admitted): Promise<void> {
    const own = await resolver.byId(row._id)
    if (own) repeat(entry, own, true)
    else lane.waiting.unshift(entry)
  }

  function acknowledge(admitted: readonly Admitted[]): void {
    if (admitted.length === 0) return
    const events = admitted.map(({ entry, row, to }) => {
      const message = toMessage(row)
      const json = JSON.stringify(message)
      entry.resolve({ row, message, json, created: true })
      headUpdater.touch(row.cid)
      return eventOf(row, to, json)
    })
    publish(
      events,
      admitted.map(({ row }) => row),
    )
  }

  function publishVoid(row: VoidDocument): void {
    headUpdater.touch(row.cid)
    publish([eventOf(row, undefined)], [row])
  }

  /** Rows whose events don't get through stay unsettled, and the sweeper publishes them. */
  function publish(events: PublishedEvent[], rows: (MessageDocument | VoidDocument)[]): void {
    publisher.publish(events).then(
      () => {
        failing = false
        headUpdater.markPublished(rows)
      },
      (error: unknown) => {
        for (const { cid } of rows) sweeper.note(cid)
        if (!failing) logger.warn({ err: error }, 'messages wait to be published')
        failing = true
      },
    )
  }

  return {
    append,
    /** Refuses what comes, and gives up on a database that does not answer. */
    close(): void {
      closed = true
      resolver.close()
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
