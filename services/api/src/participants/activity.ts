import type { ObjectId } from 'mongodb'
import type { Collections } from '../database/collections.ts'
import { minuteOf } from './participant.ts'

/** Conversations whose last written minute is remembered, at most. */
const CAPACITY = 50_000

export interface ActivityOptions {
  participants: Collections['participants']
  logger: { warn(details: object, message: string): void }
}

export type Activity = ReturnType<typeof createActivity>

/** Keeps participants' lists in the order of activity, to the minute: one write per conversation and minute. */
export function createActivity({ participants, logger }: ActivityOptions) {
  const written = new Map<string, number>()
  const active = new Set<Promise<void>>()

  async function write(cid: ObjectId, minute: Date): Promise<void> {
    try {
      // Losing this costs a place in a list until the next message, so it waits for nobody.
      await participants.updateMany(
        { cid, activityAt: { $lt: minute } },
        { $set: { activityAt: minute } },
        { writeConcern: { w: 1 } },
      )
    } catch (error) {
      written.delete(cid.toHexString())
      logger.warn({ err: error }, 'activity was not written')
    }
  }

  return {
    /** The conversation was active; written behind the caller, at most once a minute. */
    touch(cid: ObjectId, at: Date): void {
      const id = cid.toHexString()
      const minute = minuteOf(at)
      if ((written.get(id) ?? 0) >= minute.getTime()) return
      written.delete(id)
      written.set(id, minute.getTime())
      if (written.size > CAPACITY) {
        const [oldest] = written.keys()
        if (oldest !== undefined) written.delete(oldest)
      }
      const writing: Promise<void> = write(cid, minute).finally(() => active.delete(writing))
      active.add(writing)
    },

    /** Resolves once nothing is under way any more. */
    async idle(): Promise<void> {
      await Promise.all(active)
    },
  }
}
