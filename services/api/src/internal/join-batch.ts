import { setImmediate as nextTurn } from 'node:timers/promises'
import { authorize } from '@parley/auth'
import { type Caller, LIMITS, type Message, participantKey, problem, type Receipt } from '@parley/contract'
import { ObjectId } from 'mongodb'
import type { Database } from '../database/client.ts'
import { type ConversationDocument, isVoid, type ParticipantDocument } from '../database/collections.ts'
import { contiguous } from '../messages/fold.ts'
import { toMessage } from '../messages/message.ts'
import type { MessageStore, Numbered, Opening } from '../messages/store.ts'
import { receiptOf } from '../participants/participant.ts'

/** Most joins answered by one round of queries. */
const BATCH_SIZE = 200
const NOTHING: Opening = { numbers: [], whole: [] }

export interface Wanted {
  caller: Caller
  conversationId: string
  afterSeq?: number | undefined
  members?: boolean | undefined
}

export type Row = Pick<ParticipantDocument, 'cid' | 'key' | 'role' | 'readSeq'>
/** By conversation and participant key. */
type Rows = Map<string, Map<string, Row>>

/** What a join needs to know of its conversation. */
export interface Joined {
  head: ConversationDocument
  /** The caller's own row; null: an admin who takes no part. */
  own: Row | null
  /** All participants' rows, if requested or the conversation is small; otherwise only some. */
  rows: Row[]
  /** How far everybody has read, if the conversation is small; one list for all joins that wait. */
  receipts: Receipt[]
  /** Above `settledSeq`, ascending, without a gap. */
  tail: Numbered[]
  /** The first messages above `afterSeq`, one list for all joins that want the same; null: too much to read along. */
  page: Message[] | null
}

interface Waiting {
  wanted: Wanted
  resolve(joined: Joined): void
  reject(error: unknown): void
}

/**
 * Answers joins. Those that arrive while others are being read form the next batch, which takes two rounds of two
 * queries however many they are: when a gateway ends, everybody comes back at once.
 */
export function createJoinBatches({
  database,
  store,
}: {
  database: Pick<Database, 'conversations' | 'participants'>
  store: Pick<MessageStore, 'openings'>
}) {
  const { conversations, participants } = database
  const waiting: Waiting[] = []
  let running = false

  const projection = { _id: 0, cid: 1, key: 1, role: 1, readSeq: 1 } as const

  async function heads(batch: readonly Waiting[]) {
    const ids = new Map(
      batch.map(({ wanted }) => [wanted.conversationId, new ObjectId(wanted.conversationId)]),
    )
    const found = await conversations
      .find({ _id: { $in: [...ids.values()] }, deletedAt: { $exists: false } }, { batchSize: BATCH_SIZE })
      .toArray()
    return new Map(found.map((head) => [head._id.toHexString(), head]))
  }

  /** Rows of those asking to join; of everybody in the conversations that are `listed`. */
  async function rows(
    joining: readonly Waiting[],
    listed: ReadonlyMap<string, ObjectId> = new Map(),
  ): Promise<Rows> {
    if (joining.length === 0) return new Map()
    const others = joining.filter(({ wanted }) => !listed.has(wanted.conversationId))
    const branches = [...Map.groupBy(others, ({ wanted }) => wanted.conversationId)].map(([id, own]) => ({
      cid: new ObjectId(id),
      key: { $in: own.map(({ wanted }) => participantKey(wanted.caller)) },
    }))
    const everybody = listed.size > 0 ? [{ cid: { $in: [...listed.values()] } }] : []
    const found = await participants
      // Hinted, or each branch is planned by itself.
      .find({ $or: [...everybody, ...branches] }, { projection, batchSize: 10_000, hint: { cid: 1, key: 1 } })
      .toArray()
    const byConversation: Rows = new Map()
    for (const row of found) {
      const id = row.cid.toHexString()
      const known = byConversation.get(id)
      if (known) known.set(row.key, row)
      else byConversation.set(id, new Map([[row.key, row]]))
    }
    return byConversation
  }

  /** Rejects a join that is not allowed. */
  function admits({ wanted, reject }: Waiting, found: Rows): boolean {
    const verdict = authorize('conversation:join', wanted.caller, ownOf(wanted, found))
    if (verdict !== 'allow') reject(problem(verdict))
    return verdict === 'allow'
  }

  async function answer(batch: readonly Waiting[]): Promise<void> {
    const [headOf, early] = await Promise.all([heads(batch), rows(batch)])
    const admitted = batch.flatMap((item) => {
      const head = headOf.get(item.wanted.conversationId)
      if (!head || head.org !== item.wanted.caller.orgId) item.reject(problem('not_found'))
      else if (admits(item, early)) return [{ item, head }]
      return []
    })

    /** By conversation, the lowest seq above which messages are wanted. */
    const from = new Map<string, { cid: ObjectId; settledSeq: number }>()
    const listed = new Map<string, ObjectId>()
    for (const { item, head } of admitted) {
      const id = item.wanted.conversationId
      const floor = Math.min(pageStart(item.wanted, head) ?? head.settledSeq, head.settledSeq)
      const known = from.get(id)
      if (!known || floor < known.settledSeq) from.set(id, { cid: head._id, settledSeq: floor })
      if (item.wanted.members || head.participantCount <= LIMITS.receiptsAtJoin) listed.set(id, head._id)
    }
    // Again, now that the heads are read: a participant removed in between is not let in beyond their removal.
    const joining = admitted.map(({ item }) => item)
    const [openingOf, found] = await Promise.all([store.openings([...from.values()]), rows(joining, listed)])
    const views = new Map<string, ReturnType<typeof viewOf>>()
    for (const { item, head } of admitted) {
      if (!admits(item, found)) continue
      const id = item.wanted.conversationId
      const view =
        views.get(id) ?? viewOf(head, openingOf.get(id) ?? NOTHING, [...(found.get(id)?.values() ?? [])])
      views.set(id, view)
      const { pageAfter, ...shared } = view
      const start = pageStart(item.wanted, head)
      const page = start === null ? null : pageAfter(start)
      item.resolve({ head, own: ownOf(item.wanted, found), ...shared, page })
    }
  }

  async function run(): Promise<void> {
    running = true
    try {
      // The requests of this turn of the event loop share the first round.
      await nextTurn()
      while (waiting.length > 0) {
        const batch = waiting.splice(0, BATCH_SIZE)
        try {
          await answer(batch)
        } catch (error) {
          for (const { reject } of batch) reject(error)
        }
      }
    } finally {
      running = false
    }
  }

  return {
    /** @throws ProblemError not_found */
    read(wanted: Wanted): Promise<Joined> {
      return new Promise((resolve, reject) => {
        waiting.push({ wanted, resolve, reject })
        if (!running) void run()
      })
    },
  }
}

const ownOf = ({ caller, conversationId }: Wanted, rows: Rows): Row | null =>
  rows.get(conversationId)?.get(participantKey(caller)) ?? null

/** What was read of one conversation, for all its joins. */
function viewOf(
  { _id, settledSeq, participantCount }: ConversationDocument,
  { numbers, whole }: Opening,
  rows: Row[],
) {
  const tail = contiguous(
    settledSeq,
    numbers.filter(({ seq }) => seq > settledSeq),
  )
  const withReceipts = participantCount <= LIMITS.receiptsAtJoin
  const end = tail.at(-1)?.seq ?? settledSeq
  const pages = new Map<number, Message[] | null>()
  return {
    rows,
    receipts: withReceipts ? rows.map((row) => receiptOf(_id.toHexString(), row)) : [],
    tail,
    pageAfter(start: number): Message[] | null {
      let page = pages.get(start)
      if (page === undefined) {
        const isWanted = ({ seq }: Numbered) => seq > start && seq <= end
        const found = whole.flatMap((row) => (isVoid(row) || !isWanted(row) ? [] : [row]))
        const isBeyond = found.length === 0 && numbers.some((row) => isWanted(row) && row.void !== true)
        page = isBeyond ? null : found.slice(0, LIMITS.joinPage).map(toMessage)
        pages.set(start, page)
      }
      return page
    },
  }
}

/** The seq above which a page can be read along with the tail; null if that would be too long. */
function pageStart({ afterSeq }: Wanted, { settledSeq }: ConversationDocument): number | null {
  return afterSeq !== undefined && settledSeq - afterSeq <= LIMITS.joinPage ? afterSeq : null
}
