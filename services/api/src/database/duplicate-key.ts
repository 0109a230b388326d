import { MongoServerError } from 'mongodb'

/** MongoDB's code for a row whose key is already in a unique index. */
export const DUPLICATE_KEY = 11000

export const isDuplicateKey = (error: unknown): boolean =>
  error instanceof MongoServerError && error.code === DUPLICATE_KEY
