import { connectTail } from '@parley/events'
import {
  closeRedis,
  connectRedis,
  createApiClient,
  createLogger,
  createRegistry,
  createShutdown,
  loadConfig,
  runService,
} from '@parley/service-kit'
import { buildApp } from './app.ts'
import { GatewayConfig } from './config.ts'

runService('gateway', async ({ env }) => {
  const config = loadConfig(GatewayConfig, env)
  const logger = createLogger({ name: 'gateway', level: config.LOG_LEVEL })
  const registry = createRegistry('gateway')
  const shutdown = createShutdown({ logger, timeoutMs: config.SHUTDOWN_TIMEOUT_MS })
  const streamsUrl = config.REDIS_STREAMS_URL ?? config.REDIS_URL
  const redis = connectRedis(config.REDIS_URL, { name: 'gateway', kind: 'fast', logger })
  const adapterRedis = connectRedis(config.REDIS_URL, { name: 'gateway-control', kind: 'waiting', logger })
  const busRedis = connectRedis(config.REDIS_URL, { name: 'gateway-bus', kind: 'subscribing', logger })
  const api = createApiClient({
    urls: config.API_URL,
    serviceSecret: config.SERVICE_SECRET,
    userAgent: 'parley-gateway',
  })
  const gateway = await buildApp({
    config,
    logger,
    registry,
    api,
    redis,
    adapterRedis,
    busRedis,
    connectTail: () => connectTail(streamsUrl, { name: 'gateway-tail' }),
  })
  const drainMs = config.SHUTDOWN_TIMEOUT_MS * 0.4
  shutdown.phase('drain', config.SHUTDOWN_TIMEOUT_MS * 0.6, () => gateway.drain(drainMs))
  shutdown.phase('close', 5_000, () => gateway.close())
  shutdown.phase('connections', 2_000, async () => {
    await Promise.all([closeRedis(redis), closeRedis(adapterRedis), closeRedis(busRedis), api.close()])
  })
  // In parallel, so that the first newcomers need not be sent away until the revocations are known.
  await Promise.all([gateway.start(), gateway.app.listen({ host: config.HOST, port: config.PORT })])
  logger.info({ port: config.PORT }, 'gateway is listening')
  return shutdown
})
