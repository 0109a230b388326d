import {
  closeRedis,
  connectRedis,
  createApiClient,
  createLogger,
  createRegistry,
  createShutdown,
  loadConfig,
  metricsListen,
  runService,
} from '@parley/service-kit'
import { buildApp } from './app.ts'
import { WorkerConfig } from './config.ts'
import { createConsumer } from './jobs/consumer.ts'
import { summariseConversation } from './jobs/conversation.ts'
import { createLeases } from './jobs/lease.ts'
import { createQueueView } from './jobs/queue-view.ts'
import { createWorkerMetrics, observeModel, observeQueue } from './metrics.ts'
import { createSummarise } from './summarise.ts'

runService('worker', async ({ env }) => {
  const config = loadConfig(WorkerConfig, env)
  const logger = createLogger({ name: 'worker', level: config.LOG_LEVEL })
  const shutdown = createShutdown({ logger, timeoutMs: config.SHUTDOWN_TIMEOUT_MS })
  const registry = createRegistry('worker')
  const metrics = createWorkerMetrics(registry)
  const stopping = new AbortController()

  const redis = connectRedis(config.REDIS_QUEUE_URL ?? config.REDIS_URL, {
    name: 'worker',
    kind: 'waiting',
    logger,
  })
  const api = createApiClient({
    urls: config.API_URL,
    serviceSecret: config.SERVICE_SECRET,
    userAgent: 'worker',
    connections: config.SUMMARY_CONCURRENCY * 2,
  })
  const model =
    config.SUMMARY_MODEL_URL !== undefined && config.SUMMARY_MODEL !== undefined
      ? (await import('./model/model.ts')).createModel({
          url: config.SUMMARY_MODEL_URL,
          model: config.SUMMARY_MODEL,
          apiKey: config.SUMMARY_API_KEY,
          length: config.SUMMARY_LENGTH,
          timeoutMs: config.SUMMARY_TIMEOUT_MS,
        })
      : undefined
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

  const app = await buildApp({
    logger,
    registry,
    metricsListen: metricsListen(config),
    isReady: () => !shutdown.draining,
    degraded: () => [
      ...(queue.isReady() ? [] : ['redis']),
      ...(api.reachable() ? [] : ['api']),
      ...(model?.isOpen() ? ['model'] : []),
    ],
  })
  await app.listen({ host: config.HOST, port: config.PORT })
  consumer.start()

  shutdown.phase('finish summaries', config.SHUTDOWN_TIMEOUT_MS * 0.8, async () => {
    stopping.abort()
    await consumer.close()
  })
  shutdown.phase('http', 1_000, () => app.close())
  shutdown.phase('connections', 2_000, async () => {
    await queue.close()
    await Promise.all([closeRedis(redis), api.close()])
  })
  return shutdown
})
