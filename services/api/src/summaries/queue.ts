import { type FailedSummaryJob, LIMITS, SUMMARY_QUEUE, SummaryJob, summaryJobId } from '@parley/contract'
import type { Logger } from '@parley/service-kit'
import { type Job, type JobsOptions, Queue } from 'bullmq'
import type { Redis } from 'ioredis'

const MAX_FAILED_JOBS = 10_000
/** Attempts before a job counts as failed; the first pause between them is a second, each next one twice as long. */
const ATTEMPTS = 5

const OPTIONS: JobsOptions = {
  attempts: ATTEMPTS,
  backoff: { type: 'exponential', delay: 1_000, jitter: 0.5 },
  removeOnComplete: true,
  removeOnFail: { count: MAX_FAILED_JOBS },
}

export interface SummaryQueueOptions {
  /** A connection that answers at once or not at all (kind `fast`). */
  redis: Redis
  logger: Pick<Logger, 'debug'>
}

export type SummaryQueue = ReturnType<typeof createSummaryQueue>

/** The producer's side. Nobody ever waits for it: the reconciler finds what can't be queued. */
export function createSummaryQueue({ redis, logger }: SummaryQueueOptions) {
  let opened: Queue | undefined
  const isReady = (): boolean => redis.status === 'ready'

  /** Opened on first use, and again after a failure: a BullMQ queue that failed to start stays failed. */
  async function queue(): Promise<Queue> {
    if (!isReady()) throw new Error('Redis is away')
    opened ??= open()
    const mine = opened
    try {
      await mine.waitUntilReady()
    } catch (error) {
      if (opened === mine) opened = undefined
      throw error
    }
    return mine
  }

  function open(): Queue {
    const made = new Queue(SUMMARY_QUEUE, { connection: redis, skipMetasUpdate: true })
    // The connection itself logs that Redis is away.
    made.on('error', () => undefined)
    return made
  }

  /** Queues jobs; those already queued stay as they are. Rejects if Redis does not take them. */
  async function addAll(jobs: readonly SummaryJob[]): Promise<void> {
    const target = await queue()
    await target.addBulk(
      jobs.map((job) => ({ name: 'summarize', data: job, opts: { ...OPTIONS, jobId: jobIdOf(job) } })),
    )
  }

  return {
    isReady,
    addAll,

    /** Queues a job in the background, if Redis is there. */
    offer(job: SummaryJob): void {
      if (!isReady()) return
      addAll([job]).catch((error: unknown) => {
        logger.debug({ err: error, cid: job.conversationId }, 'a summary job is left to the reconciler')
      })
    },

    /** Jobs that used up their attempts, newest first. */
    async failed(limit: number): Promise<FailedSummaryJob[]> {
      const jobs = await (await queue()).getFailed(0, limit - 1)
      return jobs.filter(isJob).flatMap((job) => {
        const { data, success } = SummaryJob.safeParse(job.data)
        if (!success) return []
        return {
          id: job.id ?? '',
          conversationId: data.conversationId,
          attempts: job.attemptsMade,
          reason: job.failedReason ?? '',
          failedAt: new Date(job.finishedOn ?? job.timestamp).toISOString(),
        }
      })
    },

    /** Queues up to `limit` failed jobs again, the oldest first; returns how many. */
    async retryFailed(limit: number): Promise<number> {
      const jobs = (await (await queue()).getJobs(['failed'], 0, limit - 1, true)).filter(isJob)
      const retried = await Promise.allSettled(
        jobs.map((job) => job.retry('failed', { resetAttemptsMade: true })),
      )
      return retried.filter(({ status }) => status === 'fulfilled').length
    },

    async close(): Promise<void> {
      await opened?.close()
    },
  }
}

/** A bucket's number, and beyond it the seq if a summary was requested part-way through the bucket. */
function jobIdOf({ conversationId, throughSeq }: SummaryJob): string {
  const bucket = Math.floor(throughSeq / LIMITS.summaryBucket)
  return summaryJobId(
    conversationId,
    throughSeq % LIMITS.summaryBucket === 0 ? bucket : `${bucket}-${throughSeq}`,
  )
}

/** A job that was removed between listing and reading shows as undefined. */
const isJob = (job: Job | undefined): job is Job => job !== undefined
