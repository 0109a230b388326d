import { setTimeout as delay } from 'node:timers/promises'
import { problem } from '@parley/contract'
import { type ClientSession, type MongoClient, MongoError } from 'mongodb'

/** Milliseconds after which a transaction that keeps colliding is abandoned. */
const DEADLINE_MS = 10_000
const MAX_PAUSE_MS = 250

const hasLabel = (error: unknown, label: string): boolean =>
  error instanceof MongoError && error.hasErrorLabel(label)

/**
 * Runs `work` in one transaction: a snapshot of what is on a majority, committed to a majority. `work` runs again after
 * a collision, so it must start afresh each time. The pauses between attempts are random, so that the same transactions
 * do not collide again.
 *
 * @throws ProblemError unavailable after 10 s of collisions, or if the commit's outcome stays unknown
 */
export async function transact<T>(
  client: MongoClient,
  work: (session: ClientSession) => Promise<T>,
): Promise<T> {
  const deadline = Date.now() + DEADLINE_MS
  for (let longest = 4; ; longest = Math.min(longest * 2, MAX_PAUSE_MS)) {
    const session = client.startSession()
    try {
      session.startTransaction({
        readConcern: { level: 'snapshot' },
        writeConcern: { w: 'majority', journal: true },
        readPreference: 'primary',
      })
      const result = await work(session)
      await commit(session, deadline)
      return result
    } catch (error) {
      if (session.inTransaction()) await session.abortTransaction().catch(() => undefined)
      if (!hasLabel(error, 'TransientTransactionError')) throw error
      if (Date.now() > deadline) throw problem('unavailable', { retryAfter: 1, cause: error })
    } finally {
      await session.endSession()
    }
    await delay(Math.random() * longest)
  }
}

/** Commits; repeats it while the outcome is unknown, since a second commit changes nothing. */
async function commit(session: ClientSession, deadline: number): Promise<void> {
  for (;;) {
    try {
      await session.commitTransaction()
      return
    } catch (error) {
      if (!hasLabel(error, 'UnknownTransactionCommitResult')) throw error
      if (Date.now() > deadline) throw problem('unavailable', { retryAfter: 1, cause: error })
    }
    await delay(Math.random() * 50)
  }
}
