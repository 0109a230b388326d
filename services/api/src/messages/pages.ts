import { setTimeout as delay } from 'node:timers/promises'
import { LIMITS, type Message, type Page } from '@parley/contract'
import { decodeCursor, encodeCursor } from '@parley/service-kit'
import type { Filter, ObjectId } from 'mongodb'
import { z } from 'zod'
import type { Collections, MessageDocument, MessageRow } from '../database/collections.ts'
import { isVoid } from '../database/collections.ts'
import { contiguous } from './fold.ts'
import { toMessage } from './message.ts'
import { firstOf, PAGE_BYTES } from './page-bytes.ts'
import type { MessageStore } from './store.ts'

/** Milliseconds that a reader waits for a number in flight before it seals it. */
const IN_FLIGHT_MS = 1_000
const POLL_MS = 40

/** The conversation to read, as of a head read just before. */
export interface ReadScope {
  _id: ObjectId
  org: string
  settledSeq: number
}

export interface SeqRange {
  before?: number | undefined
  after?: number | undefined
  around?: number | undefined
  cursor?: string | undefined
}

interface Walk {
  rows: MessageDocument[]
  /** There is another message. */
  more: boolean
}

const Position = z.tuple([z.enum(['before', 'after']), z.int().min(0)])

export type MessagePages = ReturnType<typeof createMessagePages>

/**
 * Reads a conversation's messages. All reads end at the first undecided number: no message is shown while a lower one
 * may still come.
 */
export function createMessagePages({
  messages,
  store,
  pageBytes = PAGE_BYTES,
}: {
  messages: Collections['messages']
  store: MessageStore
  /** For tests. */
  pageBytes?: number
}) {
  /** The last number that is decided with all below it. */
  async function decided({ _id, settledSeq }: ReadScope): Promise<number> {
    const tailOf = await store.tails([{ cid: _id, settledSeq }], { _id: 0, cid: 1, seq: 1 })
    return settledSeq + contiguous(settledSeq, tailOf.get(_id.toHexString()) ?? []).length
  }

  const select = (cid: ObjectId, filter: Filter<MessageRow>, seq: object): Filter<MessageRow> => ({
    cid,
    seq,
    ...filter,
  })

  /** Up to `limit` messages below `before`, and no more than `bytes`, but at least one; ascending. */
  async function older(
    scope: ReadScope,
    filter: Filter<MessageRow>,
    before: number,
    limit: number,
    bytes = pageBytes,
  ): Promise<Walk> {
    const found: MessageDocument[] = []
    let bytesLeft = bytes
    let bound = before
    let end = before - 1 <= scope.settledSeq ? before - 1 : undefined
    for (;;) {
      const max = limit - found.length
      const cursor = messages.find(select(scope._id, filter, { $lt: bound })).sort({ seq: -1 })
      const { rows, next, bytes: taken } = await firstOf(cursor, max, bytesLeft)
      end ??= endWithin(scope, filter, rows, next)
      if (end === undefined) {
        end = await decided(scope)
        // A number decided only meanwhile is not among the rows: read again.
        bound = Math.min(bound, end + 1)
        continue
      }
      for (const row of rows) if (row.seq <= end && !isVoid(row)) found.push(row)
      bytesLeft -= taken
      const more = isMore(found, limit, rows.length < max, next)
      if (more !== undefined) return { rows: found.reverse(), more }
      bound = boundAfter(rows, next)
    }
  }

  /** The last decided number, if the newest rows reach down to what is settled; undefined: ask {@link decided}. */
  function endWithin(
    { settledSeq }: ReadScope,
    filter: object,
    rows: MessageRow[],
    next: MessageRow | undefined,
  ): number | undefined {
    const top = rows[0]?.seq ?? 0
    if (top <= settledSeq) return top
    if (Object.keys(filter).length > 0) return undefined
    if (next && next.seq > settledSeq) return undefined
    const tail = rows.filter(({ seq }) => seq > settledSeq).reverse()
    return settledSeq + contiguous(settledSeq, tail).length
  }

  /** Up to `limit` messages above `after`, and no more than `bytes`, but at least one; ascending. */
  async function newer(
    scope: ReadScope,
    filter: Filter<MessageRow>,
    after: number,
    limit: number,
    bytes = pageBytes,
  ): Promise<Walk> {
    const found: MessageDocument[] = []
    let bytesLeft = bytes
    const unfiltered = Object.keys(filter).length === 0
    // A reader that holds `after` has seen it, so all below it is decided.
    let end = Math.max(after, scope.settledSeq)
    let bound = after
    let through: number | undefined
    for (;;) {
      const max = limit - found.length
      const range = { $gt: bound, ...(through !== undefined && { $lte: through }) }
      const cursor = messages.find(select(scope._id, filter, range)).sort({ seq: 1 })
      const { rows, next, bytes: taken } = await firstOf(cursor, max, bytesLeft)
      const read = next ? [...rows, next] : rows
      if ((read.at(-1)?.seq ?? 0) > end) {
        if (!unfiltered) {
          // A number decided only meanwhile is not among the rows: read again.
          through = end = Math.max(end, await decided(scope))
          continue
        }
        const above = read.filter(({ seq }) => seq > end)
        end += contiguous(end, above).length
      }
      for (const row of rows) if (row.seq <= end && !isVoid(row)) found.push(row)
      bytesLeft -= taken
      const within = next && next.seq <= end ? next : undefined
      const more = isMore(found, limit, rows.length < max, within)
      if (more !== undefined) return { rows: found, more }
      bound = boundAfter(rows, within)
    }
  }

  /** Whether there is more than what was found; undefined: read on. `cut`: its bytes are used up. */
  function isMore(
    found: readonly MessageRow[],
    limit: number,
    cut: boolean,
    next: MessageRow | undefined,
  ): boolean | undefined {
    if (!next) return false
    const isFull = found.length === limit || (cut && found.length > 0)
    return isFull && !isVoid(next) ? true : undefined
  }

  /** Where to read on: at the next row, or past it if it is void. */
  const boundAfter = (rows: readonly MessageRow[], next: MessageRow | undefined): number =>
    ((next && isVoid(next) ? next : rows.at(-1)) ?? next)?.seq ?? 0

  /**
   * A page, ascending by seq; the newest if the range is empty. `list` names the list for its cursors, `filter` selects
   * its contents. `limit` 1–100.
   */
  async function page(
    scope: ReadScope,
    list: readonly string[],
    filter: Filter<MessageRow>,
    range: SeqRange,
    limit: number,
  ): Promise<Page<Message>> {
    const name = [...list, scope._id.toHexString()]
    const { direction, at } = resolve(range, name)
    let rows: MessageDocument[]
    let olderExist: boolean
    let newerExist: boolean
    if (direction === 'around') {
      const [low, high] = await Promise.all([
        older(scope, filter, at + 1, Math.ceil(limit / 2), pageBytes / 2),
        newer(scope, filter, at, Math.floor(limit / 2), pageBytes / 2),
      ])
      rows = [...low.rows, ...high.rows]
      olderExist = low.more
      newerExist = high.more
    } else if (direction === 'after') {
      const walk = await newer(scope, filter, at, limit)
      rows = walk.rows
      newerExist = walk.more
      olderExist = (rows[0]?.seq ?? at + 1) > 1
    } else {
      const walk = await older(scope, filter, at, limit)
      rows = walk.rows
      olderExist = walk.more
      newerExist = at !== Number.MAX_SAFE_INTEGER
    }
    // An empty page leads back, too.
    const first = rows[0]?.seq ?? Math.min(at + 1, Number.MAX_SAFE_INTEGER)
    const last = rows.at(-1)?.seq ?? Math.max(at - 1, 0)
    return {
      data: rows.map(toMessage),
      page: {
        prevCursor: olderExist ? encodeCursor(name, ['before', first]) : null,
        nextCursor: newerExist ? encodeCursor(name, ['after', last]) : null,
        hasMore:
          direction === 'after' ? newerExist : direction === 'around' ? olderExist || newerExist : olderExist,
      },
    }
  }

  function resolve({ before, after, around, cursor }: SeqRange, name: string[]) {
    if (cursor !== undefined) {
      const [direction, at] = decodeCursor(cursor, name, Position)
      return { direction, at }
    }
    if (after !== undefined) return { direction: 'after', at: after } as const
    if (around !== undefined) return { direction: 'around', at: around } as const
    return { direction: 'before', at: before ?? Number.MAX_SAFE_INTEGER } as const
  }

  /**
   * What a room that has seen `afterSeq` is missing: up to `limit` messages, no more than a join carries, and the
   * number up to which nothing more will come. Waits up to a second for a number in flight, then seals it.
   */
  async function fill(scope: ReadScope, afterSeq: number, limit: number) {
    const deadline = Date.now() + IN_FLIGHT_MS
    for (;;) {
      const found = messages.find({ cid: scope._id, seq: { $gt: afterSeq } }).sort({ seq: 1 })
      const { rows } = await firstOf(found, limit)
      const run = contiguous(afterSeq, rows)
      if (run.length === rows.length || Date.now() >= deadline) {
        const gap = afterSeq + run.length + 1
        if (run.length < rows.length) {
          await store.seal({ cid: scope._id, org: scope.org, seq: gap })
          continue
        }
        return {
          messages: run.flatMap((row) => (isVoid(row) ? [] : [toMessage(row)])),
          throughSeq: afterSeq + run.length,
        }
      }
      await delay(POLL_MS)
    }
  }

  return {
    page,
    fill,
    decided,
    /** The newest `count` messages that are not deleted, ascending; fewer if they exceed a page. */
    async last(scope: ReadScope, count: number): Promise<Message[]> {
      const { rows } = await older(scope, { deletedAt: { $exists: false } }, Number.MAX_SAFE_INTEGER, count)
      return rows.map(toMessage)
    },
    /** The first messages above `after` and up to `through`, which are all decided: as many as a join carries. */
    async between({ _id: cid }: ReadScope, after: number, through: number): Promise<Message[]> {
      const found = messages
        .find({ cid, seq: { $gt: after, $lte: through }, void: { $exists: false } })
        .sort({ seq: 1 })
      const { rows } = await firstOf(found, LIMITS.joinPage)
      return rows.flatMap((row) => (isVoid(row) ? [] : [toMessage(row)]))
    },
    /** By id within an org; null if there is none. */
    async byId(org: string, id: ObjectId): Promise<MessageDocument | null> {
      const row = await messages.findOne({ _id: id, org })
      return row && !isVoid(row) ? row : null
    },
  }
}
