import type { ApiClient, Logger, Registry } from '@parley/service-kit'
import type { Redis } from 'ioredis'
import type { WorkerConfig } from './config.ts'
import { createConsumer } from './jobs/consumer.ts'
import { summariseConversation } from './jobs/conversation.ts'
import { createLeases } from './jobs/lease.ts'
import { createQueueView } from './jobs/queue-view.ts'
import { createWorkerMetrics, observeModel, observeQueue } from './metrics.ts'
import type { Model } from './model/model.ts'
import { createSummarise } from './summarise.ts'

export interface ServiceDependencies {
  config: WorkerConfig
  logger: Logger
  registry: Registry
  api: ApiClient
  /** A connection for commands that wait (kind `waiting`). */
  redis: Redis
}

/** Takes summary jobs, has each conversation summarised, and shows how that goes. */
export async function createServices({ config, logger, registry, api, redis }: ServiceDependencies) {
  const stopping = new AbortController()
  const metrics = createWorkerMetrics(registry)
  const model = await openModel(config)
  const summarise = createSummarise({ model, length: config.SUMMARY_LENGTH, logger, metrics })
  const consumer = createConsumer({
    redis,
    leases: createLeases(redis, config.SUMMARY_LOCK_MS),
    concurrency: config.SUMMARY_CONCURRENCY,
    lockMs: config.SUMMARY_LOCK_MS,
    run: (conversationId) =>
      summariseConversation(conversationId, { api, summarise, metrics, signal: stopping.signal }),
    logger,
    metrics,
  })
  const queue = createQueueView(redis)
  observeQueue(registry, queue)
  if (model) observeModel(registry, model.isOpen)

  return {
    start: consumer.start,
    /** What is away: jobs wait, or summaries are extractive. */
    degraded: () => [
      ...(queue.isReady() ? [] : ['redis']),
      ...(api.reachable() ? [] : ['api']),
      ...(model?.isOpen() ? ['model'] : []),
    ],
    /** Begins nothing new; a conversation under way is left to another worker. */
    async finish(): Promise<void> {
      stopping.abort()
      await consumer.close()
    },
    close: queue.close,
  }
}

/** The model's client is large, and loaded only where there is a model. */
async function openModel(config: WorkerConfig): Promise<Model | undefined> {
  if (config.SUMMARY_MODEL_URL === undefined || config.SUMMARY_MODEL === undefined) return undefined
  const { createModel } = await import('./model/model.ts')
  return createModel({
    url: config.SUMMARY_MODEL_URL,
    model: config.SUMMARY_MODEL,
    apiKey: config.SUMMARY_API_KEY,
    length: config.SUMMARY_LENGTH,
    timeoutMs: config.SUMMARY_TIMEOUT_MS,
  })
}
