import type { TailConnection } from '@parley/events'
import { createOriginCheck, type HttpServer, health, type Registry, rateLimits } from '@parley/service-kit'
import type { Redis } from 'ioredis'
import { createCallerOf } from './caller.ts'
import { createAccept } from './connection/accept.ts'
import { createAdmission } from './connection/admission.ts'
import { drain } from './connection/drain.ts'
import { createForget } from './connection/forget.ts'
import { createHandshake } from './connection/handshake.ts'
import { createDispatch } from './events/dispatch.ts'
import { clientEvents } from './events/index.ts'
import { openHttp } from './http.ts'
import { createMetrics } from './metrics.ts'
import { presenceRoutes } from './presence/routes.ts'
import { createServices, type ServiceDependencies } from './services.ts'
import { openSockets } from './socket-server.ts'
import { createTailing } from './tailing.ts'

export interface GatewayDependencies extends Omit<ServiceDependencies, 'metrics'> {
  registry: Registry
  /** A connection for Socket.IO's adapter to subscribe on. */
  adapterRedis: Redis
  /** A connection for one partition of the streams. */
  connectTail(): TailConnection
}

export interface Gateway {
  app: HttpServer
  start(): Promise<void>
  /** Admits nobody new; sends everybody elsewhere within this many milliseconds. */
  drain(maxMs: number): Promise<void>
  close(): Promise<void>
}

/** The gateway, not yet listening. */
export async function buildApp(dependencies: GatewayDependencies): Promise<Gateway> {
  const { config, logger, registry, api, redis, adapterRedis, busRedis, connectTail } = dependencies
  const isAllowedOrigin = createOriginCheck({
    origins: config.CORS_ORIGINS,
    production: config.NODE_ENV === 'production',
  })
  const metrics = createMetrics(registry)
  const { services, delivery, close: closeServices } = createServices({ ...dependencies, metrics })
  const { verifier, revocations, outbound, rooms, expiry, presence, streams } = services
  const admission = createAdmission({ connectsPerMinute: config.RATE_LIMIT_CONNECT })
  const dispatch = createDispatch({
    handlers: clientEvents.map((create) => create(services)),
    outbound,
    logger,
    isRevoked: ({ data }) => revocations.isRevoked(data.caller, data.session.issuedAt),
    onEvent: metrics.clientEvent,
  })

  const app = await openHttp({ config, logger, registry, isAllowedOrigin })
  const { io, namespace } = await openSockets(app, {
    publisher: redis,
    subscriber: adapterRedis,
    logger,
    isAllowedOrigin,
  })
  namespace.use(
    createHandshake({
      verifier,
      admission,
      isAllowedOrigin,
      eventsPerSecond: config.RATE_LIMIT_EVENTS,
      onRefused: metrics.refused,
      logger,
    }),
  )
  namespace.on(
    'connection',
    createAccept(services, {
      roomAccess: delivery.roomAccess,
      expiry,
      dispatch,
      viewRoster: presence.viewRoster,
      forget: createForget(io),
    }),
  )
  const tailing = createTailing(services, { connect: connectTail, namespace, delivery, metrics })

  const callerOf = createCallerOf(verifier)
  const isRedisConnected = () => [redis, busRedis].every(({ status }) => status === 'ready')
  health(app, {
    isReady: () => revocations.loaded && !admission.isClosed(),
    degraded: () => [
      ...(tailing.connected() && isRedisConnected() ? [] : ['redis']),
      ...(api.reachable() ? [] : ['api']),
    ],
  })
  await rateLimits(app, { redis, restPerMinute: config.RATE_LIMIT_REST, callerOf })
  presenceRoutes(app, { presence, callerOf, api })
  metrics.observe({
    sockets: () => namespace.sockets.size,
    rooms: () => rooms.size,
    answers: () => streams.size,
    tailsConnected: tailing.connected,
    tailsLive: tailing.live,
    redisConnected: isRedisConnected,
  })

  return {
    app,
    start: tailing.start,
    async drain(maxMs) {
      admission.close()
      await drain({ namespace, outbound, maxMs })
    },
    async close() {
      admission.close()
      await closeServices()
      await tailing.close()
      await app.close()
    },
  }
}
