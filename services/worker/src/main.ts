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
import { createServices } from './services.ts'

runService('worker', async ({ env }) => {
  const config = loadConfig(WorkerConfig, env)
  const logger = createLogger({ name: 'worker', level: config.LOG_LEVEL })
  const registry = createRegistry('worker')
  const shutdown = createShutdown({ logger, timeoutMs: config.SHUTDOWN_TIMEOUT_MS })
  const redisUrl = config.REDIS_QUEUE_URL ?? config.REDIS_URL
  const redis = connectRedis(redisUrl, { name: 'worker', kind: 'waiting', logger })
  const api = createApiClient({
    urls: config.API_URL,
    serviceSecret: config.SERVICE_SECRET,
    userAgent: 'worker',
    connections: config.SUMMARY_CONCURRENCY * 2,
  })
  const services = await createServices({ config, logger, registry, api, redis })
  const app = await buildApp({
    logger,
    registry,
    metricsListen: metricsListen(config),
    isReady: () => !shutdown.draining,
    degraded: services.degraded,
  })
  await app.listen({ host: config.HOST, port: config.PORT })
  services.start()

  shutdown.phase('finish summaries', config.SHUTDOWN_TIMEOUT_MS * 0.8, services.finish)
  shutdown.phase('http', 1_000, () => app.close())
  shutdown.phase('connections', 2_000, async () => {
    await services.close()
    await Promise.all([closeRedis(redis), api.close()])
  })
  return shutdown
})
