import { LIMITS } from '@parley/contract'
import type { FindCursor } from 'mongodb'
import { isVoid, type MessageRow } from '../database/collections.ts'

/** Bytes of a message's fixed fields as JSON, or slightly more. */
const FIXED_BYTES = 1_024
/** Approximate upper bound of a page's bytes of JSON; a single message may exceed it. A hundred of 64 KiB fit. */
export const PAGE_BYTES = 8 * 1024 * 1024

/**
 * Approximate bytes of a message as JSON, without escapes. Every row read is measured, so only structured fields are
 * serialised.
 */
export function bytesOf(row: MessageRow): number {
  if (isVoid(row)) return 0
  const { content, thinking = '', attachments, toolCalls, metadata } = row
  const structured =
    attachments || toolCalls || metadata ? JSON.stringify([attachments, toolCalls, metadata]) : ''
  return [content, thinking, structured].reduce((sum, text) => sum + Buffer.byteLength(text), FIXED_BYTES)
}

/**
 * The first rows of a cursor: at most `max`, and no more than `bytes`, but at least one. `next`: the one after them.
 */
export async function firstOf<R extends MessageRow>(
  cursor: FindCursor<R>,
  max: number,
  bytes: number = LIMITS.joinBytes,
): Promise<{ rows: R[]; next: R | undefined; bytes: number }> {
  const rows: R[] = []
  let taken = 0
  for await (const row of cursor.limit(max + 1)) {
    const size = bytesOf(row)
    if (rows.length === max || (rows.length > 0 && taken + size > bytes)) {
      return { rows, next: row, bytes: taken }
    }
    taken += size
    rows.push(row)
  }
  return { rows, next: undefined, bytes: taken }
}
