import { createRevocationList, createServiceVerifier, createVerifier } from '@parley/auth'
import { createPublisher, createPulse } from '@parley/events'
import {
  closeRedis,
  connectRedis,
  createLogger,
  createRegistry,
  createShutdown,
  loadConfig,
  metricsListen,
  redisReady,
  runService,
} from '@parley/service-kit'
import { buildApp } from './app.ts'
import { ApiConfig } from './config.ts'
import { connectDatabase } from './database/client.ts'
import { watchDatabase } from './database/watch.ts'
import { createRevocations } from './identity/revocations.ts'
import { createUnreadTotals } from './identity/unread.ts'
import { createApiMetrics } from './metrics.ts'
import { createServices } from './services.ts'

runService('api', async ({ env }) => {
  const config = loadConfig(ApiConfig, env)
  const { HOST, PORT, JWT_SECRET } = config
  const logger = createLogger({ name: 'api', level: config.LOG_LEVEL })
  const shutdown = createShutdown({ logger, timeoutMs: config.SHUTDOWN_TIMEOUT_MS })
  let listening = false

  const redisTo = (name: string, url = config.REDIS_URL) => connectRedis(url, { name, kind: 'fast', logger })
  const redis = redisTo('api')
  const eventsRedis = redisTo('api-streams', config.REDIS_STREAMS_URL)
  const queueRedis = redisTo('api-queue', config.REDIS_QUEUE_URL)
  const connections = [redis, eventsRedis, queueRedis]
  const database = await connectDatabase(config.MONGODB_URI)
  const watch = watchDatabase(database)
  // Redis is not needed to start; a short wait spares the first messages a detour via the relay.
  await Promise.all(connections.map((connection) => redisReady(connection, 500)))

  const registry = createRegistry('api')
  const { unpublished } = createApiMetrics(registry, database)
  const publisher = createPublisher({ redis: eventsRedis, logger, onFailed: unpublished })
  const pulse = createPulse({ redis: eventsRedis, logger })
  const list = createRevocationList()
  const revocations = createRevocations({ revocations: database.revocations, list, publisher, logger })
  await revocations.start()
  const services = await createServices({
    database,
    publisher,
    redis,
    queueRedis,
    logger,
    prices: config.MODEL_PRICES,
    hopLimit: config.AGENT_HOP_LIMIT,
    reconcileMs: config.SUMMARY_RECONCILE_MS,
  })

  const app = await buildApp({
    logger,
    production: config.NODE_ENV === 'production',
    corsOrigins: config.CORS_ORIGINS,
    registry,
    metricsListen: metricsListen(config),
    isReady: () => listening && !shutdown.draining,
    degraded: () => [
      ...(connections.every(({ status }) => status === 'ready') ? [] : ['redis']),
      ...(watch.isAway() ? ['mongodb'] : []),
    ],
    verifier: createVerifier(config, { revocations: list }),
    serviceVerifier: createServiceVerifier(config.SERVICE_SECRET),
    seen: services.profiles.seen,
    redis,
    restPerMinute: config.RATE_LIMIT_REST,
    sendPerMinute: config.RATE_LIMIT_SEND,
    unreadTotals: createUnreadTotals(database),
    revocations,
    devTokens: config.AUTH_DEV_TOKENS && JWT_SECRET !== undefined ? { ...config, JWT_SECRET } : undefined,
    services,
  })

  eventsRedis.on('ready', services.wake)
  eventsRedis.on('ready', revocations.wake)
  queueRedis.on('ready', services.wakeQueue)
  shutdown.phase('requests', 10_000, () => app.close())
  shutdown.phase('background', 8_000, async () => {
    await Promise.all([watch.close(), revocations.close(), services.close()])
    pulse.close()
  })
  shutdown.phase('stores', 3_000, () => Promise.all([...connections.map(closeRedis), database.close()]))

  services.start()
  await app.listen({ host: HOST, port: PORT })
  listening = true
  return shutdown
})
