import { createPeriodic, type Logger } from '@parley/service-kit'
import type { Collections } from '../database/collections.ts'
import type { SummaryQueue } from './queue.ts'
import { wantedSeq } from './work.ts'

const BATCH_SIZE = 500

export interface ReconcilerOptions {
  conversations: Collections['conversations']
  queue: SummaryQueue
  /** Milliseconds between rounds at most: whatever was lost, a conversation that is behind is found this soon. */
  intervalMs: number
  logger: Pick<Logger, 'info' | 'warn'>
}

/**
 * Queues what MongoDB says is due, for the jobs that were never queued, were lost with Redis, or failed. Every api
 * process runs one; a job that exists is not made twice.
 */
export function createReconciler({ conversations, queue, intervalMs, logger }: ReconcilerOptions) {
  /** One round; resolves to the number of conversations that are behind. */
  async function reconcile(): Promise<number> {
    if (!queue.isReady()) return 0
    const retried = await queue.retryFailed(BATCH_SIZE)
    if (retried > 0) logger.info({ jobs: retried }, 'failed summary jobs are retried')
    const due = conversations
      .find(
        { summaryDue: true, deletedAt: { $exists: false } },
        {
          projection: {
            org: 1,
            settledSeq: 1,
            contentRev: 1,
            summaryCoversSeq: 1,
            summaryWantedSeq: 1,
          },
          batchSize: BATCH_SIZE,
        },
      )
      .sort({ summaryDue: 1, updatedAt: 1 })
    let found = 0
    const jobs: Parameters<SummaryQueue['addAll']>[0][number][] = []
    for await (const head of due) {
      jobs.push({
        orgId: head.org,
        conversationId: head._id.toHexString(),
        throughSeq: Math.max(wantedSeq(head), head.summaryCoversSeq),
      })
      found++
      if (jobs.length >= BATCH_SIZE) await queue.addAll(jobs.splice(0))
    }
    if (jobs.length > 0) await queue.addAll(jobs)
    return found
  }

  async function round(): Promise<number> {
    try {
      await reconcile()
    } catch (error) {
      logger.warn({ err: error }, 'a round of the summary reconciler failed')
    }
    // Not all processes at the same moment.
    return intervalMs * (0.5 + Math.random() / 2)
  }

  return { ...createPeriodic(round), reconcile }
}
