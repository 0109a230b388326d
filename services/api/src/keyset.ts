import { Id, LIMITS, type PageInfo } from '@parley/contract'
import { decodeCursor, encodeCursor } from '@parley/service-kit'
import { ObjectId } from 'mongodb'
import { z } from 'zod'

export interface PageRequest {
  /** 1–100; default 50. */
  limit?: number | undefined
  cursor?: string | undefined
}

/** A position in a list: the value that orders it, and the id that breaks ties. */
export type KeysetPosition = readonly [value: number, id: string]

export interface KeysetOptions<T> extends PageRequest {
  /** Name of the list and everything that selects its contents; cursors are bound to it. */
  list: readonly string[]
  /** The fields of the index that the list follows, and its direction. */
  by: readonly [value: string, id: string]
  order: 'rising' | 'falling'
  /** Converts a position's value to the database's; default: the number itself. */
  stored?: (value: number) => Date | number
  positionOf(row: T): KeysetPosition
  /** One query: rows that match `beyond`, sorted, at most `limit`. */
  find(beyond: object, sort: Record<string, 1 | -1>, limit: number): Promise<T[]>
}

const Position = z.tuple([z.enum(['next', 'prev']), z.int().min(0), Id])

/**
 * A page of a list that follows an index on two fields; pages stay in place while rows come and go.
 * @throws ProblemError invalid_cursor
 */
export async function keysetPage<T>(options: KeysetOptions<T>): Promise<{ rows: T[]; page: PageInfo }> {
  const { list, by, order, stored = (value) => value, positionOf, find } = options
  const { limit = LIMITS.defaultPageSize, cursor } = options
  const position = cursor === undefined ? undefined : decodeCursor(cursor, list, Position)
  const backward = position?.[0] === 'prev'
  const rising = (order === 'rising') !== backward
  const direction = rising ? 1 : -1
  const [field, id] = by

  let beyond = {}
  if (position) {
    const operator = rising ? '$gt' : '$lt'
    const value = stored(position[1])
    beyond = {
      [field]: { [`${operator}e`]: value },
      $or: [
        { [field]: { [operator]: value } },
        { [field]: value, [id]: { [operator]: new ObjectId(position[2]) } },
      ],
    }
  }
  const found = await find(beyond, { [field]: direction, [id]: direction }, limit + 1)
  const hasMore = found.length > limit
  const rows = found.slice(0, limit)
  if (backward) rows.reverse()

  const [first, last] = [rows[0], rows.at(-1)]
  const nextExist = backward || hasMore
  const prevExist = backward ? hasMore : position !== undefined
  return {
    rows,
    page: {
      nextCursor: last && nextExist ? encodeCursor(list, ['next', ...positionOf(last)]) : null,
      prevCursor: first && prevExist ? encodeCursor(list, ['prev', ...positionOf(first)]) : null,
      hasMore,
    },
  }
}
