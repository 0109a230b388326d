import { randomBytes } from 'node:crypto'
import { createRevocationList, createVerifier } from '@parley/auth'
import type { StreamConnection } from '@parley/events'
import {
  type ApiClient,
  createOriginCheck,
  type HttpServer,
  health,
  type Logger,
  type Registry,
  rateLimits,
} from '@parley/service-kit'
import type { Redis } from 'ioredis'
import { createBus } from './bus/bus.ts'
import { hearRooms } from './bus/room-channels.ts'
import { createCallerOf } from './caller.ts'
import type { GatewayConfig } from './config.ts'
import { createAccept } from './connection/accept.ts'
import { createAdmission } from './connection/admission.ts'
import { drain } from './connection/drain.ts'
import { createExpiry } from './connection/expiry.ts'
import { createForget } from './connection/forget.ts'
import { createHandshake } from './connection/handshake.ts'
import { createOutbound } from './connection/outbound.ts'
import { createPeople } from './connection/people.ts'
import { onceLoaded } from './connection/revocations.ts'
import { createDelivery } from './delivery/delivery.ts'
import { createRooms } from './delivery/rooms.ts'
import { createDispatch } from './events/dispatch.ts'
import { clientEvents } from './events/index.ts'
import { openHttp } from './http.ts'
import { createLifecycle } from './lifecycle.ts'
import { createMetrics } from './metrics.ts'
import { createPresence } from './presence/presence.ts'
import { presenceRoutes } from './presence/routes.ts'
import type { Core, Services } from './services.ts'
import { openSockets } from './socket-server.ts'
import type { ChatSocket } from './sockets.ts'
import { createStreams } from './streaming/streams.ts'
import { createTailing } from './tailing.ts'
import { createTyping } from './typing/typing.ts'

export interface GatewayDependencies {
  config: GatewayConfig
  logger: Logger
  registry: Registry
  api: ApiClient
  /** Commands that fail fast. */
  redis: Redis
  /** Another connection, for Socket.IO's adapter to subscribe on. */
  adapterRedis: Redis
  /** A third, for what gateways tell each other about rooms; dropped when it goes silent. */
  busRedis: Redis
  /** A connection for one partition of the streams. */
  connectTail(): StreamConnection
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
  const metrics = createMetrics(registry)
  const revocations = createRevocationList()
  const verifier = onceLoaded(createVerifier(config, { revocations }), () => tailing.isLoaded())
  const callerOf = createCallerOf(verifier)
  const isAllowedOrigin = createOriginCheck({
    origins: config.CORS_ORIGINS,
    production: config.NODE_ENV === 'production',
  })
  const app = await openHttp({ config, logger, registry, isAllowedOrigin })
  const { io, namespace } = await openSockets(app, {
    publisher: redis,
    subscriber: adapterRedis,
    logger,
    isAllowedOrigin,
  })

  const outbound = createOutbound({ onOverflow: metrics.overflow })
  const core: Core = {
    logger,
    api,
    verifier,
    revocations,
    outbound,
    rooms: createRooms({ outbound }),
    people: createPeople(),
    lifecycle: createLifecycle(),
  }
  const gatewayId = randomBytes(6).toString('hex')
  const bus = createBus({ subscriber: busRedis, publisher: redis, logger })
  const shared = { ...core, redis, bus, gatewayId }
  hearRooms(bus, core.lifecycle)
  const delivery = createDelivery(core, metrics)
  const { roomAccess, recheck } = delivery
  const expiry = createExpiry<ChatSocket>(outbound)
  const presence = createPresence(shared)
  const typing = createTyping(shared)
  const streams = createStreams(shared)
  const services: Services = { ...core, roomAccess, expiry, presence, typing, streams, recheck }

  const admission = createAdmission({ connectsPerMinute: config.RATE_LIMIT_CONNECT })
  const dispatch = createDispatch({
    handlers: clientEvents.map((create) => create(services)),
    outbound,
    logger,
    isRevoked: ({ data }) => revocations.isRevoked(data.caller, data.session.issuedAt),
    onEvent: metrics.clientEvent,
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
    createAccept(core, {
      roomAccess,
      expiry,
      dispatch,
      viewRoster: presence.viewRoster,
      forget: createForget(io),
    }),
  )

  const tailing = createTailing(core, { connect: connectTail, namespace, delivery, metrics })
  const isRedisConnected = () => [redis, busRedis].every(({ status }) => status === 'ready')
  let draining = false
  function stopAdmitting(): void {
    draining = true
    admission.close()
  }
  health(app, {
    isReady: () => tailing.isLoaded() && !draining,
    degraded: () => [
      ...(tailing.connected() && isRedisConnected() ? [] : ['redis']),
      ...(api.reachable() ? [] : ['api']),
    ],
  })
  await rateLimits(app, { redis, restPerMinute: config.RATE_LIMIT_REST, callerOf })
  presenceRoutes(app, { presence, callerOf, api })
  metrics.observe({
    sockets: () => namespace.sockets.size,
    rooms: () => core.rooms.size,
    answers: () => streams.size,
    tailsConnected: tailing.connected,
    tailsLive: tailing.live,
    redisConnected: isRedisConnected,
  })

  return {
    app,
    start: tailing.start,
    async drain(maxMs) {
      stopAdmitting()
      await drain({ namespace, outbound, maxMs })
    },
    async close() {
      stopAdmitting()
      await streams.close()
      typing.close()
      await presence.close()
      bus.close()
      delivery.close()
      await tailing.close()
      await app.close()
    },
  }
}
