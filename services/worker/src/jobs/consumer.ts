import { SUMMARY_QUEUE, SummaryJob } from '@parley/contract'
import type { Logger } from '@parley/service-kit'
import { DelayedError, type Job, Worker } from 'bullmq'
import type { Redis } from 'ioredis'
import type { WorkerMetrics } from '../metrics.ts'
import type { Outcome } from './conversation.ts'
import type { Leases } from './lease.ts'

export interface ConsumerOptions {
  /** A connection for commands that wait (kind `waiting`). */
  redis: Redis
  leases: Leases
  /** Conversations at a time. */
  concurrency: number
  /** Milliseconds without a sign of life after which a worker's job goes to another. */
  lockMs: number
  run(conversationId: string): Promise<Outcome>
  logger: Logger
  metrics: WorkerMetrics
}

/** A worker that dies with its job is not the job's fault: it is handed on as often as it takes. */
const MAX_STALLED_COUNT = 1_000
const MAX_FAILED_JOBS = 10_000
/** Milliseconds until a job that found its conversation taken, or a message unfinished, looks again. */
const BACKOFF_MS = { first: 100, max: 5_000 }

/** Takes jobs from the queue. A job that fails is retried with backoff, then kept for inspection and the reconciler. */
export function createConsumer({
  redis,
  leases,
  concurrency,
  lockMs,
  run,
  logger,
  metrics,
}: ConsumerOptions) {
  const worker = new Worker(SUMMARY_QUEUE, perform, {
    connection: redis,
    concurrency,
    lockDuration: lockMs,
    stalledInterval: lockMs,
    maxStalledCount: MAX_STALLED_COUNT,
    removeOnComplete: { count: 0 },
    removeOnFail: { count: MAX_FAILED_JOBS },
    autorun: false,
  })

  async function perform(job: Job, token?: string): Promise<void> {
    const stopTimer = metrics.jobSeconds.startTimer()
    let outcome: Outcome | 'taken' | 'failed' = 'failed'
    try {
      const { conversationId } = SummaryJob.parse(job.data)
      outcome = (await leases.run(conversationId, () => run(conversationId))) ?? 'taken'
    } finally {
      stopTimer({ outcome })
    }
    if (outcome === 'current') return
    const wait = Math.min(BACKOFF_MS.max, BACKOFF_MS.first * 2 ** Math.min(job.attemptsStarted - 1, 10))
    await job.moveToDelayed(Date.now() + wait, token)
    throw new DelayedError()
  }

  worker.on('failed', (job, error) => {
    metrics.failures.inc()
    const attempts = job?.attemptsMade ?? 0
    logger.warn({ job: job?.id, attempts, err: error }, 'a summary job failed')
  })
  // The connection itself logs that Redis is away; everything else is logged here.
  worker.on('error', (error) => {
    if (redis.status === 'ready') logger.warn({ err: error }, 'the queue reported an error')
  })

  let running: Promise<void> | undefined
  return {
    start(): void {
      running = worker.run()
    },

    /**
     * Takes no more jobs, and waits for those being worked on. Without Redis their outcome could not be stored, nor
     * would the wait end: their locks expire.
     */
    async close(): Promise<void> {
      if (redis.status === 'ready') {
        await worker.close()
        await running
        return
      }
      worker.close(true).catch((error: unknown) => logger.warn({ err: error }, 'the queue did not close'))
    },
  }
}
