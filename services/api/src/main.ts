import { createRevocationList, createServiceVerifier, createVerifier } from '@parley/auth'
import { createPublisher } from '@parley/events'
import {
  closeRedis,
  connectRedis,
  createLogger,
  createRegistry,
  createShutdown,
  loadConfig,
  redisReady,
  runService,
} from '@parley/service-kit'
import { buildApp } from './app.ts'
import { ApiConfig } from './config.ts'
import { connectDatabase } from './database/client.ts'
import { createDevTokens } from './identity/dev-tokens.ts'
import { createProfiles } from './identity/profiles.ts'
import { createRevocations } from './identity/revocations.ts'
import { createUnreadTotals } from './identity/unread.ts'
import { createFolder } from './messages/fold.ts'
import { createMessageLog } from './messages/log.ts'
import { createMembers } from './messages/members.ts'
import { createMessagePages } from './messages/pages.ts'
import { createMessageService } from './messages/service.ts'
import { createMessageStore, payloadHashKey } from './messages/store.ts'
import { createSweeper } from './messages/sweeper.ts'
import { createPricing } from './money/prices.ts'
import { createAccess } from './participants/access.ts'
import { createActivity } from './participants/activity.ts'
import { createRoles } from './participants/roles.ts'
import { createSearchIndexer } from './search/indexer.ts'
import { createSearch } from './search/service.ts'

runService('api', async ({ env }) => {
  const config = loadConfig(ApiConfig, env)
  const logger = createLogger({ name: 'api', level: config.LOG_LEVEL })
  const shutdown = createShutdown({ logger, timeoutMs: config.SHUTDOWN_TIMEOUT_MS })
  let listening = false

  const redis = connectRedis(config.REDIS_URL, { name: 'api', kind: 'fast', logger })
  const streams = connectRedis(config.REDIS_STREAMS_URL ?? config.REDIS_URL, {
    name: 'api-streams',
    kind: 'fast',
    logger,
  })
  const database = await connectDatabase(config.MONGODB_URI)
  // Neither needs Redis to be there; a short wait spares the first messages a detour over the relay.
  await Promise.all([redisReady(redis, 500), redisReady(streams, 500)])

  const publisher = createPublisher({ redis: streams, logger })
  const list = createRevocationList()
  const revocations = createRevocations({ revocations: database.revocations, list, publisher, logger })
  await revocations.start()
  const profiles = createProfiles({ ...database, logger })

  const access = createAccess(database)
  const store = createMessageStore(database)
  const members = createMembers({ ...database, roles: createRoles(database) })
  const activity = createActivity({ ...database, logger })
  const indexer = createSearchIndexer({ ...database, logger })
  const folder = createFolder({
    ...database,
    store,
    summaryDue: () => {},
    touched: (cid, at) => {
      activity.touch(cid, at)
      indexer.touch(cid)
    },
    logger,
  })
  const writing = { ...database, store, members, folder, publisher, logger }
  const log = createMessageLog({ ...writing, hopLimit: config.AGENT_HOP_LIMIT })
  const sweeper = createSweeper(writing)
  sweeper.start()
  const pages = createMessagePages({ ...database, store })
  const messages = createMessageService({
    ...database,
    log,
    pages,
    access,
    pricing: createPricing(config.MODEL_PRICES),
    hashKey: await payloadHashKey(database.db),
  })

  const { JWT_SECRET } = config
  const app = await buildApp({
    logger,
    production: config.NODE_ENV === 'production',
    corsOrigins: config.CORS_ORIGINS,
    trustProxy: config.TRUST_PROXY,
    registry: createRegistry('api'),
    metricsListen:
      config.METRICS_PORT === undefined ? undefined : { host: config.HOST, port: config.METRICS_PORT },
    isReady: () => listening && !shutdown.draining,
    degraded: () => [...(redis.status === 'ready' && streams.status === 'ready' ? [] : ['redis'])],
    verifier: createVerifier(config, { revocations: list }),
    serviceVerifier: createServiceVerifier(config.SERVICE_SECRET),
    seen: profiles.seen,
    redis,
    restPerMinute: config.RATE_LIMIT_REST,
    sendPerMinute: config.RATE_LIMIT_SEND,
    messages,
    search: createSearch({ ...database, access, pages, indexer }),
    unreadTotals: createUnreadTotals(database),
    revocations,
    devTokens:
      config.AUTH_DEV_TOKENS && JWT_SECRET !== undefined
        ? createDevTokens({ ...config, JWT_SECRET })
        : undefined,
  })

  shutdown.phase('requests', 10_000, () => app.close())
  shutdown.phase('background', 5_000, async () => {
    log.close()
    revocations.close()
    await Promise.all([profiles.close(), sweeper.close(), indexer.close(), folder.close()])
    await activity.idle()
  })
  shutdown.phase('stores', 3_000, () =>
    Promise.all([closeRedis(redis), closeRedis(streams), database.close()]),
  )
  await app.listen({ host: config.HOST, port: config.PORT })
  listening = true
  return shutdown
})
