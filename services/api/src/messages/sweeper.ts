import type { StreamEvent } from '@parley/contract'
import { ObjectId } from 'mongodb'
import type { Collections, MessageRow } from '../database/collections.ts'
import { isVoid } from '../database/collections.ts'
import type { Folder } from './fold.ts'
import type { Members } from './members.ts'
import { toMessage } from './message.ts'
import type { MessageStore } from './store.ts'

const INTERVAL_MS = 1_000
/** Milliseconds until the next round where one has left something. */
const BEHIND_MS = 200
/** Milliseconds that the process which stored a row has for publishing it. */
const AGE_MS = 3_000
const ROWS_AT_ONCE = 500

export interface SweeperOptions {
  conversations: Collections['conversations']
  messages: Collections['messages']
  store: MessageStore
  members: Members
  folder: Pick<Folder, 'touch' | 'published' | 'now'>
  publisher: { publish(events: StreamEvent[]): Promise<void> }
  logger: { warn(details: object, message: string): void }
}

/** A row's entry on the stream, with its current state. */
export function eventOf(row: MessageRow, to: string[] | undefined): StreamEvent {
  const event: StreamEvent = {
    type: isVoid(row) ? 'message.void' : 'message.created',
    org: row.org,
    cid: row.cid.toHexString(),
    seq: row.seq,
    data: isVoid(row) ? 'null' : JSON.stringify(toMessage(row)),
  }
  if (to) event.to = to
  return event
}

/**
 * Finishes what a process that died, or could not reach Redis, left undone: numbers are sealed, rows published, heads
 * folded. Every api process runs one; doing it twice does no harm.
 */
export function createSweeper(options: SweeperOptions) {
  const { conversations, messages, store, members, folder, publisher, logger } = options
  let timer: NodeJS.Timeout | undefined
  let running: Promise<void> | undefined

  /** One round; the number of rows that were found. */
  async function sweep(ageMs = AGE_MS): Promise<number> {
    const before = ObjectId.createFromTime(Math.floor((Date.now() - ageMs) / 1_000))
    const rows = await messages
      .find({ unsettled: true, _id: { $lt: before } })
      .sort({ unsettled: 1, cid: 1, seq: 1 })
      .limit(ROWS_AT_ONCE)
      .toArray()
    const byConversation = Map.groupBy(rows, ({ cid }) => cid.toHexString())
    for (const own of byConversation.values()) await finish(own)
    await folder.now([...byConversation.values()].flatMap(([first]) => first?.cid ?? []))
    return rows.length
  }

  async function finish(rows: MessageRow[]): Promise<void> {
    const [first] = rows
    const last = rows.at(-1)
    if (!first || !last) return
    const { cid } = first
    folder.touch(cid)
    const head = await conversations.findOne(
      { _id: cid },
      { projection: { settledSeq: 1, membersRev: 1, participantCount: 1 } },
    )
    if (!head) return
    await members.load([{ ...head, cid, authors: [] }])
    const there = new Set(
      (await store.tails([{ cid, settledSeq: head.settledSeq }], { seq: 1, cid: 1 })).map(({ seq }) => seq),
    )
    const sealed: MessageRow[] = []
    for (let seq = head.settledSeq + 1; seq < last.seq; seq++) {
      if (!there.has(seq)) sealed.push(await store.seal({ ...first, seq }))
    }
    const all = [...rows, ...sealed].sort((a, b) => a.seq - b.seq)
    const to = members.recipients(head.membersRev)
    await publisher.publish(all.map((row) => eventOf(row, to)))
    folder.published(all)
  }

  function schedule(found = 0): void {
    timer = setTimeout(
      () => {
        running = sweep()
          .catch((error: unknown) => {
            logger.warn({ err: error }, 'unpublished messages wait for the next sweep')
            return 0
          })
          .then(schedule)
      },
      found === ROWS_AT_ONCE ? BEHIND_MS : INTERVAL_MS,
    )
  }

  return {
    sweep,
    start: (): void => schedule(),
    async close(): Promise<void> {
      clearTimeout(timer)
      await running
      clearTimeout(timer)
    },
  }
}
