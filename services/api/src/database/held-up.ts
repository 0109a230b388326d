import { MongoBulkWriteError } from 'mongodb'

/**
 * Milliseconds that a write of rows of several conversations may take; one that takes longer is repeated for each
 * conversation by itself. A change whose process died in the middle locks rows of its conversation, by MongoDB's
 * default for a minute, and what was to be written for all others would wait behind these.
 */
export const MAX_WRITE_MS = 1_500
/** How many are then written at once. */
const MAX_APART = 16
/** MongoDB's code for a command that took longer than it might. */
const OUT_OF_TIME = 50

/** A locked row kept the write waiting, and not the other members of the replica set. */
export const isHeldUp = (error: unknown): boolean =>
  error instanceof MongoBulkWriteError && error.code === OUT_OF_TIME && !error.result.getWriteConcernError()

/** Some at a time; `write` must not reject. */
export async function writeApart<T>(
  parts: readonly T[],
  write: (part: T) => Promise<unknown>,
): Promise<void> {
  for (let at = 0; at < parts.length; at += MAX_APART) {
    await Promise.all(parts.slice(at, at + MAX_APART).map(write))
  }
}
