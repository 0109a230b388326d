import type { Publisher } from '@parley/events'
import { createPeriodic, type Logger } from '@parley/service-kit'
import { type Filter, ObjectId } from 'mongodb'
import { type Collections, isVoid, type MessageRow } from '../database/collections.ts'
import type { ReadPositions } from '../participants/read-positions.ts'
import type { HeadUpdater } from './head-updater.ts'
import { eventOf } from './message.ts'
import { firstOf, PAGE_BYTES } from './page-bytes.ts'
import type { ParticipantCache } from './participant-cache.ts'
import { type MessageStore, sealHoles } from './store.ts'

const INTERVAL_MS = 1_000
/** Milliseconds until the next round if one has left something. */
const BEHIND_MS = 200
/** Milliseconds that a process has to publish a row it stored. */
const AGE_MS = 3_000
/** Most rows published together, with no more bytes than a page. */
const ROW_BATCH_SIZE = 500
/** Most conversations whose unpublished messages are read together, and that are remembered. */
const CONVERSATION_BATCH_SIZE = 100
const MAX_CONVERSATIONS = 10_000

export interface SweeperOptions {
  conversations: Collections['conversations']
  messages: Collections['messages']
  store: MessageStore
  participantCache: ParticipantCache
  headUpdater: Pick<HeadUpdater, 'touch' | 'markPublished' | 'foldNow'>
  publisher: Pick<Publisher, 'publish'>
  readPositions: Pick<ReadPositions, 'note'>
  logger: Pick<Logger, 'warn'>
}

export type Sweeper = ReturnType<typeof createSweeper>

/**
 * Finishes what a process that died, or could not reach Redis, left undone: numbers are sealed, rows published, what
 * their authors have read is noted, heads are folded. Every api process runs one; doing it twice does no harm.
 */
export function createSweeper(options: SweeperOptions) {
  const { conversations, messages, store, participantCache, headUpdater, publisher, readPositions, logger } =
    options
  /** Conversations with messages that this process could not publish. */
  const unpublished = new Map<string, ObjectId>()
  /** Whether the last round left something. */
  let behind = false

  const unsettled = (which: Filter<MessageRow>) =>
    firstOf(
      messages.find({ unsettled: true, ...which }).sort({ unsettled: 1, cid: 1, seq: 1 }),
      ROW_BATCH_SIZE,
      PAGE_BYTES,
    )

  /** One round; resolves to the number of rows found. */
  async function sweep(ageMs = AGE_MS): Promise<number> {
    await publishOwn()
    const before = ObjectId.createFromTime(Math.floor((Date.now() - ageMs) / 1_000))
    const { rows, next } = await unsettled({ _id: { $lt: before } })
    behind = next !== undefined
    await finish(rows, { seal: true })
    return rows.length
  }

  /** Publishes what this process could not, however recent; of very many only some, and the rest once it is old. */
  async function publishOwn(): Promise<void> {
    while (unpublished.size > 0) {
      const some = [...unpublished.values()].slice(0, CONVERSATION_BATCH_SIZE)
      for (const cid of some) unpublished.delete(cid.toHexString())
      try {
        const { rows } = await unsettled({ cid: { $in: some } })
        // Everything below them was decided before they were acknowledged; above them others may be at work.
        await finish(rows, { seal: false })
      } catch (error) {
        for (const cid of some) unpublished.set(cid.toHexString(), cid)
        throw error
      }
    }
  }

  async function finish(rows: MessageRow[], { seal }: { seal: boolean }): Promise<void> {
    const byConversation = Map.groupBy(rows, ({ cid }) => cid.toHexString())
    for (const own of byConversation.values()) await finishOne(own, seal)
    await headUpdater.foldNow([...byConversation.values()].flatMap(([first]) => first?.cid ?? []))
  }

  async function finishOne(rows: MessageRow[], seal: boolean): Promise<void> {
    const [first] = rows
    const last = rows.at(-1)
    if (!first || !last) return
    const { cid } = first
    headUpdater.touch(cid)
    for (const row of rows) {
      if (!isVoid(row)) readPositions.note({ cid, org: row.org, key: row.author, seq: row.seq })
    }
    const head = await conversations.findOne(
      { _id: cid },
      { projection: { settledSeq: 1, membersRev: 1, participantCount: 1 } },
    )
    if (!head) return
    await participantCache.load([{ ...head, cid, authors: [] }])
    const sealed = seal ? await sealHoles(store, last, head.settledSeq) : []
    const all = [...rows, ...sealed].sort((a, b) => a.seq - b.seq)
    const to = participantCache.recipients(head.membersRev)
    await publisher.publish(all.map((row) => eventOf(row, to)))
    headUpdater.markPublished(all)
  }

  async function round(): Promise<number> {
    try {
      await sweep()
      return behind ? BEHIND_MS : INTERVAL_MS
    } catch (error) {
      logger.warn({ err: error }, 'unpublished messages wait for the next sweep')
      return INTERVAL_MS
    }
  }

  return {
    ...createPeriodic(round),
    sweep,
    /**
     * Messages of this conversation could not be published: the next round does so, without waiting for them to get
     * old.
     */
    note(cid: ObjectId): void {
      if (unpublished.size < MAX_CONVERSATIONS) unpublished.set(cid.toHexString(), cid)
    },
  }
}
