import { type ChangeKind, type ConversationField, ProblemError, problem } from '@parley/contract'
import type { Logger } from '@parley/service-kit'
import { type MongoClient, MongoError, ObjectId } from 'mongodb'
import type {
  AuditDocument,
  Collections,
  ConversationDocument,
  MessageDocument,
  OutboxDocument,
} from '../database/collections.ts'
import { transact } from '../database/transaction.ts'
import type { Outbox } from '../publishing/outbox.ts'
import { type ChangeTransaction, openUnitOfWork, type UnitOfWork } from './transaction.ts'

/** Most changes in one transaction. */
const BATCH_SIZE = 50
/** Transactions in flight at once, so that a burst of changes leaves connections for everybody else. */
const CONCURRENT_TRANSACTIONS = 16

/** Milliseconds that a change waits for its turn; a transaction has a time limit of its own. */
const WAIT_MS = 10_000

/** The name in the audit of changes by the service itself. */
const SERVICE_KEY = 'agent:parley'

/** What a change did: for its number, its event and its audit line. */
export interface Effect {
  kind: ChangeKind
  /** Its name in the audit: `participant.add`. */
  action: string
  /** The message it concerned, which gets the number; otherwise the conversation does. */
  messageId?: ObjectId
  /** Key of the participant it concerned. */
  participant?: string
  /** Fields of the conversation that changed. */
  changed?: ConversationField[]
  /** Values of the fields that changed; never a message's text. */
  before?: Record<string, unknown>
  after?: Record<string, unknown>
  /** Participant keys of those to be told outside the room. */
  to?: string[]
}

export interface EditOutcome<T> {
  value: T
  /** Absent: there was nothing to change. */
  effect?: Effect
}

/** An edit of something that exists. */
export interface Edit<T> {
  /** Participant key; null: the service itself, which leaves `updatedBy` alone. */
  by: string | null
  /** Checks, then edits the drafts. Throwing drops this edit alone. Runs again after a collision. */
  run(transaction: ChangeTransaction): Promise<EditOutcome<T>>
}

export interface Applied<T> {
  value: T
  /** Its number; null: there was nothing to change. */
  changeSeq: number | null
  /** The head as committed, not counting what lies above its `settledSeq`. */
  head: ConversationDocument
  /** The message it concerned, as committed. */
  message: MessageDocument | null
}

interface Waiting {
  edit: Edit<unknown>
  /** Ends the wait. */
  timer: NodeJS.Timeout
  resolve(applied: Applied<unknown>): void
  reject(error: unknown): void
}

interface Lane {
  readonly cid: ObjectId
  waiting: Waiting[]
  busy: boolean
}

type Attempted =
  | { waiting: Waiting; error: unknown }
  | { waiting: Waiting; outcome: EditOutcome<unknown>; changeSeq: number | null }

export type Changes = ReturnType<typeof createChanges>

/**
 * Changes to what exists: each gets the next `changeSeq` of its conversation, corrected counters, an audit line and an
 * outbox row, all or nothing. Those that wait for one conversation share one transaction.
 */
export function createChanges(options: {
  client: MongoClient
  rows: Collections
  outbox: Outbox
  /** Somebody changed a conversation itself, which counts as activity. */
  touched(moved: readonly { cid: ObjectId; at: Date }[]): void
  logger: Pick<Logger, 'debug'>
}) {
  const { client, rows, outbox, touched, logger } = options
  const lanes = new Map<string, Lane>()
  const ready: Lane[] = []
  const active = new Set<Promise<void>>()

  function next(): void {
    while (active.size < CONCURRENT_TRANSACTIONS) {
      const lane = ready.shift()
      if (!lane) return
      const run: Promise<void> = serve(lane).finally(() => {
        active.delete(run)
        lane.busy = false
        if (lane.waiting.length > 0) enqueue(lane)
        else lanes.delete(lane.cid.toHexString())
        next()
      })
      active.add(run)
    }
  }

  function enqueue(lane: Lane): void {
    if (lane.busy) return
    lane.busy = true
    ready.push(lane)
  }

  async function serve(lane: Lane): Promise<void> {
    const batch = lane.waiting.splice(0, BATCH_SIZE)
    if (batch.length === 0) return
    for (const { timer } of batch) clearTimeout(timer)
    try {
      const done = await commit(lane.cid, batch)
      for (const attempted of done.attempts) answer(attempted, done.unit)
      outbox.publish(done.events, done.messages)
      const { head, now } = done.unit?.transaction ?? {}
      if (head && head.updatedAt === now && !head.deletedAt) touched([{ cid: head._id, at: now }])
      await done.unit?.settle().catch((error: unknown) => {
        logger.debug({ err: error }, 'lists of active conversations look at more rows than they need')
      })
    } catch (error) {
      for (const { reject } of batch) reject(error)
    }
  }

  function answer(attempted: Attempted, unit: UnitOfWork | null): void {
    if ('error' in attempted || !unit) {
      attempted.waiting.reject('error' in attempted ? attempted.error : problem('not_found'))
      return
    }
    const { waiting, outcome, changeSeq } = attempted
    const { messageId } = outcome.effect ?? {}
    waiting.resolve({
      value: outcome.value,
      changeSeq,
      head: unit.transaction.head,
      message: (messageId && unit.draft(messageId)) ?? null,
    })
  }

  function commit(cid: ObjectId, batch: readonly Waiting[]) {
    return transact(client, async (session) => {
      const unit = await openUnitOfWork(rows, session, cid, new Date())
      const events: OutboxDocument[] = []
      const audit: AuditDocument[] = []
      const attempts: Attempted[] = []
      for (const waiting of batch) {
        // Also one of these may have deleted it.
        if (!unit || unit.transaction.head.deletedAt) {
          attempts.push({ waiting, error: problem('not_found') })
          continue
        }
        try {
          const { outcome, event, line } = await unit.attempt(() => attempt(waiting.edit, unit.transaction))
          if (event) events.push(event)
          if (line) audit.push(line)
          attempts.push({ waiting, outcome, changeSeq: event?.change ?? null })
        } catch (error) {
          // A failing store fails the whole batch; a failing check only its own change.
          if (error instanceof MongoError) throw error
          attempts.push({ waiting, error })
        }
      }
      // Committed even if nothing changes: until then, what was seen need not be on a majority.
      if (unit && events.length > 0) {
        await unit.write()
        await rows.audit.insertMany(audit, { session })
        await rows.outbox.insertMany(events, { session })
      }
      const messages = events.flatMap(({ messageId }) => (messageId && unit?.draft(messageId)) || [])
      return { unit, attempts, events, messages }
    })
  }

  return {
    /**
     * Applies an edit and resolves once it is on a majority; its event follows.
     * @throws ProblemError not_found (no such conversation), what the edit itself throws, unavailable (it had no turn
     * within 10 s and will not happen)
     */
    apply<T>(cid: ObjectId, edit: Edit<T>): Promise<Applied<T>> {
      const id = cid.toHexString()
      const lane = lanes.get(id) ?? { cid, waiting: [], busy: false }
      lanes.set(id, lane)
      // The value is passed beside the queue, which holds edits of every kind.
      let value: { of: T } | undefined
      const applied = new Promise<Applied<unknown>>((resolve, reject) => {
        const run = async (transaction: ChangeTransaction): Promise<EditOutcome<unknown>> => {
          const outcome = await edit.run(transaction)
          value = { of: outcome.value }
          return outcome
        }
        const timer = setTimeout(() => {
          lane.waiting.splice(lane.waiting.indexOf(waiting), 1)
          reject(problem('unavailable', { retryAfter: 1 }))
        }, WAIT_MS)
        const waiting: Waiting = { edit: { by: edit.by, run }, timer, resolve, reject }
        lane.waiting.push(waiting)
      })
      enqueue(lane)
      next()
      return applied.then((done) => {
        if (!value) throw new Error('a change was answered that never ran')
        return { ...done, value: value.of }
      })
    },

    /** Resolves once nothing is under way. */
    async idle(): Promise<void> {
      while (active.size > 0) await Promise.allSettled(active)
      await outbox.idle()
    },
  }
}

/** Runs an edit, and makes the number, event and audit line of the change. */
async function attempt(edit: Edit<unknown>, transaction: ChangeTransaction) {
  const outcome = await edit.run(transaction)
  const { effect } = outcome
  if (!effect) return { outcome }
  const { head, now } = transaction
  head.changeSeq++
  if (effect.messageId) {
    const row = await transaction.message(effect.messageId)
    if (!row) throw new ProblemError('not_found')
    row.changeSeq = head.changeSeq
    row.updatedAt = now
    row.updatedBy = edit.by ?? row.author
  } else {
    head.ownChangeSeq = head.changeSeq
    if (effect.kind === 'conversation.deleted') delete head.ownChangeKind
    else if (effect.kind !== 'message.updated' && effect.kind !== 'message.deleted') {
      head.ownChangeKind = effect.kind
    }
    if (edit.by !== null) {
      head.updatedAt = now
      head.updatedBy = edit.by
    }
  }

  const common = { cid: head._id, org: head.org }
  const event: OutboxDocument = {
    _id: new ObjectId(),
    ...common,
    change: head.changeSeq,
    type: effect.kind,
    createdAt: now,
  }
  if (effect.messageId) event.messageId = effect.messageId
  if (effect.participant) event.participant = effect.participant
  if (effect.changed) event.changed = effect.changed
  if (effect.to) event.to = effect.to

  const line: AuditDocument = {
    _id: new ObjectId(),
    ...common,
    changeSeq: head.changeSeq,
    at: now,
    by: edit.by ?? SERVICE_KEY,
    action: effect.action,
    before: effect.before ?? {},
    after: effect.after ?? {},
  }
  const subject = effect.messageId?.toHexString() ?? effect.participant
  if (subject !== undefined) line.subject = subject
  return { outcome, event, line }
}
