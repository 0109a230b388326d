import { MongoBulkWriteError, MongoServerError } from 'mongodb'

/** MongoDB's code for a row whose key is already in a unique index. */
export const DUPLICATE_KEY = 11000

export const isDuplicateKey = (error: unknown): boolean =>
  error instanceof MongoServerError && error.code === DUPLICATE_KEY

/** Of many writes those that failed did so because their row is there already. */
export function areAllDuplicateKeys(error: unknown): boolean {
  if (!(error instanceof MongoBulkWriteError)) return false
  const failed = [error.writeErrors].flat()
  return (
    failed.length > 0 &&
    failed.every(({ code }) => code === DUPLICATE_KEY) &&
    !error.result.getWriteConcernError()
  )
}
