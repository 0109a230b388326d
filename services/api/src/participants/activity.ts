import { createHighest, type Logger } from '@parley/service-kit'
import type { ObjectId } from 'mongodb'
import type { Collections } from '../database/collections.ts'
import { minuteOf } from './participant.ts'

/** Most conversations whose last written minute is remembered. */
const MAX_CONVERSATIONS = 50_000

export interface ActivityOptions {
  participants: Collections['participants']
  logger: Pick<Logger, 'warn'>
}

/** Keeps participants' lists in the order of activity, to the minute: one write per conversation and minute. */
export function createActivity({ participants, logger }: ActivityOptions) {
  /** The minute that has been written, or counts as written. */
  const written = createHighest(MAX_CONVERSATIONS)
  const active = new Set<Promise<void>>()

  async function write(moved: readonly { cid: ObjectId; minute: Date }[]): Promise<void> {
    try {
      // Losing this only misplaces a list entry until the next message, so it waits for no majority.
      await participants.bulkWrite(
        moved.map(({ cid, minute }) => ({
          updateMany: {
            filter: { cid, activityAt: { $lt: minute } },
            update: { $set: { activityAt: minute } },
          },
        })),
        { ordered: false, writeConcern: { w: 1 } },
      )
    } catch (error) {
      for (const { cid } of moved) written.forget(cid.toHexString())
      logger.warn({ err: error }, 'activity was not written')
    }
  }

  return {
    /** These conversations were active; written in the background, each at most once a minute, in one command. */
    touch(conversations: readonly { cid: ObjectId; at: Date }[]): void {
      const moved = conversations
        .map(({ cid, at }) => ({ cid, minute: minuteOf(at) }))
        .filter(({ cid, minute }) => written.isNews(cid.toHexString(), minute.getTime()))
      if (moved.length === 0) return
      const writing: Promise<void> = write(moved).finally(() => active.delete(writing))
      active.add(writing)
    },

    /** Resolves once nothing is under way. */
    async idle(): Promise<void> {
      await Promise.all(active)
    },
  }
}
