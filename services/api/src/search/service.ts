import { createHash } from 'node:crypto'
import { type Caller, LIMITS, type Page, problem, type SearchHit } from '@parley/contract'
import { decodeCursor, encodeCursor } from '@parley/service-kit'
import type { ObjectId } from 'mongodb'
import { z } from 'zod'
import type { Collections, MessageDocument, MessageRow } from '../database/collections.ts'
import { isVoid } from '../database/collections.ts'
import { toMessage } from '../messages/message.ts'
import { firstOf, PAGE_BYTES } from '../messages/page-bytes.ts'
import type { MessagePages } from '../messages/pages.ts'
import { unhurried } from '../messages/unhurried.ts'
import type { Access } from '../participants/access.ts'
import type { SearchIndexer } from './indexer.ts'
import { type QueryTerm, queryTerms, rate } from './terms.ts'

/** Most messages ranked, and their approximate bytes of text: the newest of those that match or are not indexed yet. */
const MAX_CANDIDATES = 500
const MAX_CANDIDATE_BYTES = 4 * 1024 * 1024
/** The parts of a message that are ranked; `bytes` is the size of the whole. */
const CANDIDATE = { seq: 1, void: 1, deletedAt: 1, content: 1, bytes: { $bsonSize: '$$ROOT' } } as const
/** Bytes that a highlight takes. */
const HIGHLIGHT_BYTES = 32
/** Milliseconds that a search spends on an index that is behind. */
const CATCH_UP_MS = 1_000

type Candidate = MessageRow & { bytes: number }

/** A message that has all words. */
interface Hit {
  seq: number
  score: number
  /** What it takes on a page. */
  bytes: number
}

const Position = z.tuple([z.int().min(0).max(MAX_CANDIDATES)])

export type Search = ReturnType<typeof createSearch>

/** Finds messages of one conversation by their words; see `queryTerms` for what counts as one. */
export function createSearch({
  messages,
  searchTerms,
  access,
  pages,
  indexer,
}: Pick<Collections, 'messages' | 'searchTerms'> & {
  access: Access
  pages: MessagePages
  indexer: SearchIndexer
}) {
  /** The newest messages that have all terms; one that may be the start of a word takes longer. */
  function newest(cid: ObjectId, [first, ...others]: readonly QueryTerm[]) {
    if (!first) return []
    const select = ({ text, prefix }: QueryTerm) => (prefix ? { $regex: `^${literal(text)}` } : text)
    return searchTerms
      .find(
        {
          cid,
          terms: select(first),
          ...(others.length > 0 && { $and: others.map((term) => ({ terms: select(term) })) }),
        },
        { projection: { seq: 1 } },
      )
      .sort({ seq: -1 })
      .limit(MAX_CANDIDATES)
      .toArray()
  }

  /** The newest of these, as many as are ranked. */
  async function candidates(cid: ObjectId, seq: object) {
    const { rows } = await firstOf(
      messages.find<Candidate>({ cid, seq }, { projection: CANDIDATE }).sort({ seq: -1 }),
      MAX_CANDIDATES,
      MAX_CANDIDATE_BYTES,
    )
    return rows.flatMap((row) => (isVoid(row) || row.deletedAt ? [] : [row]))
  }

  /** Those that have all words, best first. */
  async function ranked(rows: Iterable<MessageDocument & Candidate>, wanted: readonly QueryTerm[]) {
    const hits: Hit[] = []
    for await (const { seq, content, bytes } of unhurried(rows)) {
      const { score, highlights } = rate(content, wanted)
      if (score > 0) hits.push({ seq, score, bytes: bytes + highlights.length * HIGHLIGHT_BYTES })
    }
    return hits.sort((a, b) => b.score - a.score || b.seq - a.seq).slice(0, MAX_CANDIDATES)
  }

  /** These with their full content and the positions of the words. */
  async function marked(cid: ObjectId, hits: readonly Hit[], wanted: readonly QueryTerm[]) {
    const rows = await messages.find({ cid, seq: { $in: hits.map(({ seq }) => seq) } }).toArray()
    const rowOf = new Map(rows.map((row) => [row.seq, row]))
    const whole = hits.flatMap(({ seq }) => {
      const row = rowOf.get(seq)
      return row && !isVoid(row) && !row.deletedAt ? [row] : []
    })
    const data: SearchHit[] = []
    for await (const row of unhurried(whole)) {
      const { score, highlights } = rate(row.content, wanted)
      data.push({ ...toMessage(row), score: Math.round(score * 1_000) / 1_000, highlights })
    }
    return data
  }

  return {
    /**
     * Messages that have all words of `q`, best first, with the matches marked. If none has the last word, it counts as
     * the start of one. `limit` 1–100; 500 are ranked, fewer of long ones.
     * @throws ProblemError not_found, invalid_cursor, validation_failed (no word in `q`)
     */
    async find(
      caller: Caller,
      cid: string,
      {
        q,
        limit = LIMITS.defaultPageSize,
        cursor,
      }: { q: string; limit?: number | undefined; cursor?: string | undefined },
    ): Promise<Page<SearchHit>> {
      const { head } = await access.require(caller, cid, 'message:search')
      const wanted = queryTerms(q)
      if (wanted.length === 0) {
        throw problem('validation_failed', {
          errors: [{ pointer: '/q', detail: 'must contain a word or number' }],
        })
      }
      // Cursors are bound to the query, in few characters.
      const list = ['search', cid, createHash('sha256').update(q).digest('base64url').slice(0, 16)]
      const wantedOffset = cursor === undefined ? 0 : decodeCursor(cursor, list, Position)[0]

      const [end, from] = await Promise.all([pages.decided(head), indexer.indexedSeq(head._id)])
      let indexed = from
      const deadline = Date.now() + CATCH_UP_MS
      for (let more = indexed < head.settledSeq; more && Date.now() < deadline; ) {
        const done = await indexer.step(head._id, indexed, head.settledSeq)
        indexed = done.through
        more = done.more
      }

      const exact = wanted.map((term) => ({ ...term, prefix: false }))
      const [whole, fresh] = await Promise.all([
        newest(head._id, exact),
        candidates(head._id, { $gt: indexed, $lte: end }),
      ])
      const sought = whole.length > 0 || (await ranked(fresh, exact)).length > 0 ? exact : wanted
      const terms = sought === exact ? whole : await newest(head._id, wanted)
      const found = await candidates(head._id, { $in: terms.map(({ seq }) => seq) })
      const unique = new Map([...found, ...fresh].map((row) => [row.seq, row]))
      const hits = await ranked(unique.values(), sought)
      // There may be fewer than there were.
      const offset = Math.min(wantedOffset, hits.length)
      const page = fitting(hits.slice(offset, offset + limit))
      const next = offset + page.length
      const previous = offset - fitting(hits.slice(Math.max(0, offset - limit), offset).toReversed()).length
      return {
        data: await marked(head._id, page, sought),
        page: {
          nextCursor: next < hits.length ? encodeCursor(list, [next]) : null,
          prevCursor: offset > 0 ? encodeCursor(list, [previous]) : null,
          hasMore: next < hits.length,
        },
      }
    },
  }
}

/** As many of the first as fit a page, at least one. */
function fitting(hits: readonly Hit[]): readonly Hit[] {
  let room = PAGE_BYTES
  const end = hits.findIndex(({ bytes }, index) => {
    room -= bytes
    return room < 0 && index > 0
  })
  return end < 0 ? hits : hits.slice(0, end)
}

const literal = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
