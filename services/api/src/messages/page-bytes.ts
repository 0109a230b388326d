import { LIMITS } from '@parley/contract'
import type { FindCursor } from 'mongodb'
import { isVoid, type MessageRow } from '../database/collections.ts'

/** What the fixed fields of a message take as JSON, or a little more. */
const FIXED_BYTES = 1_024

/** About how many bytes a message is as JSON, escapes left out: asked of every row that a join reads, so not by writing it. */
export function bytesOf(row: MessageRow): number {
  if (isVoid(row)) return 0
  const { content, thinking = '', attachments, toolCalls, metadata } = row
  const structured =
    attachments || toolCalls || metadata ? JSON.stringify([attachments, toolCalls, metadata]) : ''
  return [content, thinking, structured].reduce((sum, text) => sum + Buffer.byteLength(text), FIXED_BYTES)
}

/**
 * The first rows of a cursor: `most` at most, and no more than {@link LIMITS.joinBytes}, but one at least. `more`: there
 * are others; they are not read.
 */
export async function firstOf(
  cursor: FindCursor<MessageRow>,
  most: number,
): Promise<{ rows: MessageRow[]; more: boolean }> {
  const rows: MessageRow[] = []
  let bytes = 0
  for await (const row of cursor.limit(most + 1)) {
    bytes += bytesOf(row)
    if (rows.length === most || (rows.length > 0 && bytes > LIMITS.joinBytes)) return { rows, more: true }
    rows.push(row)
  }
  return { rows, more: false }
}
