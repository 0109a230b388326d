import type { Collections } from '../database/collections.ts'
import type { SummaryQueue } from './queue.ts'
import { wantedSeq } from './work.ts'

/** Milliseconds within which a round follows the return of Redis. */
const WAKE_MS = 500
const BATCH = 500

export interface ReconcilerOptions {
  conversations: Collections['conversations']
  queue: SummaryQueue
  /** Milliseconds between rounds at most: so soon is found who is behind, whatever was lost. */
  intervalMs: number
  logger: { warn(details: object, message: string): void; info(details: object, message: string): void }
}

/**
 * Queues what MongoDB says is due, for the jobs that were never queued, were lost with Redis, or failed. Every api
 * process runs one; a job that exists is not made twice.
 */
export function createReconciler({ conversations, queue, intervalMs, logger }: ReconcilerOptions) {
  let timer: NodeJS.Timeout | undefined
  let running: Promise<void> = Promise.resolve()
  let closed = false

  /** One round; the number of conversations that are behind. */
  async function reconcile(): Promise<number> {
    if (!queue.isReady()) return 0
    const retried = await queue.retryFailed(BATCH)
    if (retried > 0) logger.info({ jobs: retried }, 'failed summary jobs are tried again')
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
          batchSize: BATCH,
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
      if (jobs.length >= BATCH) await queue.addAll(jobs.splice(0))
    }
    if (jobs.length > 0) await queue.addAll(jobs)
    return found
  }

  function schedule(inMs = intervalMs): void {
    if (closed) return
    clearTimeout(timer)
    // Not all processes in the same moment.
    timer = setTimeout(round, inMs * (0.5 + Math.random() / 2))
  }

  function round(): void {
    running = reconcile()
      .then(
        () => undefined,
        (error: unknown) => logger.warn({ err: error }, 'a round of the summary reconciler failed'),
      )
      .finally(() => schedule())
  }

  return {
    reconcile,
    start: (): void => schedule(),
    /** The queue is back, perhaps without its jobs. */
    wake: (): void => schedule(Math.min(WAKE_MS, intervalMs)),
    async close(): Promise<void> {
      closed = true
      clearTimeout(timer)
      await running
    },
  }
}
