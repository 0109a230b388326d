import { type Caller, LIMITS, type Message, type Page, problem } from '@parley/contract'
import { decodeCursor, encodeCursor } from '@parley/service-kit'
import type { ObjectId } from 'mongodb'
import { z } from 'zod'
import type { Collections, MessageDocument, MessageRow } from '../database/collections.ts'
import { isVoid } from '../database/collections.ts'
import { toMessage } from '../messages/message.ts'
import type { MessagePages } from '../messages/pages.ts'
import type { Access } from '../participants/access.ts'
import type { SearchIndexer } from './indexer.ts'
import { type QueryTerm, queryTerms, rate } from './terms.ts'

/** Messages that are ranked: of more that match, the newest. */
const CANDIDATES = 500
/** Messages not indexed yet that a search reads itself, newest first. */
const UNINDEXED = 500
/** Milliseconds that a search spends on an index that is behind. */
const CATCH_UP_MS = 1_000

export type SearchHit = Message & { score: number; highlights: { start: number; end: number }[] }

const Position = z.tuple([z.int().min(0).max(CANDIDATES)])

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
  /** The newest messages that have all terms: whole, or, which takes longer, as far as the query began them. */
  function newest(cid: ObjectId, [first, ...others]: readonly QueryTerm[], begun: boolean) {
    if (!first) return []
    const select = ({ text, prefix }: QueryTerm) => (begun && prefix ? { $regex: `^${literal(text)}` } : text)
    return searchTerms
      .find(
        {
          cid,
          terms: select(first),
          ...(others.length > 0 && { $and: others.map((term) => ({ terms: select(term) })) }),
        },
        { projection: { _id: 1 } },
      )
      .sort({ seq: -1 })
      .limit(CANDIDATES)
      .toArray()
  }

  return {
    /**
     * Messages that have all words of `q`, best first, with what was found marked. Where none has the last word, it is
     * taken for the start of one. `limit` 1–100; 500 are ranked.
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
      const { head } = await access.of(caller, cid, 'message:search')
      const wanted = queryTerms(q)
      if (wanted.length === 0) {
        throw problem('validation_failed', {
          errors: [{ pointer: '/q', detail: 'must have a word or number in it' }],
        })
      }
      const list = ['search', cid, q]
      const offset = cursor === undefined ? 0 : decodeCursor(cursor, list, Position)[0]

      const [end, from] = await Promise.all([pages.decided(head), indexer.indexedSeq(head._id)])
      let indexed = from
      const deadline = Date.now() + CATCH_UP_MS
      for (let more = indexed < head.settledSeq; more && Date.now() < deadline; ) {
        const done = await indexer.step(head._id, indexed, head.settledSeq)
        indexed = done.through
        more = done.more
      }

      const [whole, fresh] = await Promise.all([
        newest(head._id, wanted, false),
        messages
          .find({ cid: head._id, seq: { $gt: indexed, $lte: end } })
          .sort({ seq: -1 })
          .limit(UNINDEXED)
          .toArray(),
      ])
      const begun = whole.length === 0 && wanted.some(({ prefix }) => prefix)
      const rows = begun ? await newest(head._id, wanted, true) : whole
      const found: MessageRow[] = await messages.find({ _id: { $in: rows.map(({ _id }) => _id) } }).toArray()
      const seen = new Map<string, MessageDocument>()
      for (const row of [...found, ...fresh])
        if (!isVoid(row) && !row.deletedAt) seen.set(row._id.toHexString(), row)
      const hits = [...seen.values()]
        .map((row) => ({ row, ...rate(row.content, wanted) }))
        .filter(({ score }) => score > 0)
        .sort((a, b) => b.score - a.score || b.row.seq - a.row.seq)
        .slice(0, CANDIDATES)
      const page = hits.slice(offset, offset + limit)
      const next = offset + page.length
      return {
        data: page.map(({ row, score, highlights }) => ({
          ...toMessage(row),
          score: Math.round(score * 1_000) / 1_000,
          highlights,
        })),
        page: {
          nextCursor: next < hits.length ? encodeCursor(list, [next]) : null,
          prevCursor: offset > 0 ? encodeCursor(list, [Math.max(0, offset - limit)]) : null,
          hasMore: next < hits.length,
        },
      }
    },
  }
}

const literal = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
