import { randomBytes } from 'node:crypto'
import { createRevocationList, createVerifier } from '@parley/auth'
import { ALL_PARTITIONS, CHAT_NAMESPACE, LIMITS } from '@parley/contract'
import { createTail, type StreamConnection } from '@parley/events'
import {
  type ApiClient,
  cors,
  createHttpServer,
  createOriginCheck,
  type HttpServer,
  health,
  type Logger,
  metrics,
  problemErrors,
  type Registry,
  rateLimits,
} from '@parley/service-kit'
import fastifySocketIo from 'fastify-socket.io'
import type { Redis } from 'ioredis'
import { asyncApiRoutes } from './asyncapi/routes.ts'
import { createBus } from './bus/bus.ts'
import { hearRooms } from './bus/room-channels.ts'
import type { GatewayConfig } from './config.ts'
import { createAccept } from './connection/accept.ts'
import { createAdmission } from './connection/admission.ts'
import { drain } from './connection/drain.ts'
import { createExpiry } from './connection/expiry.ts'
import { createForget } from './connection/forget.ts'
import { createHandshake } from './connection/handshake.ts'
import { createOutbound } from './connection/outbound.ts'
import { createPeople } from './connection/people.ts'
import { createRevocationFeed } from './connection/revocations.ts'
import { createControlAdapter } from './control/adapter.ts'
import { createDelivery } from './delivery/delivery.ts'
import { createRooms } from './delivery/rooms.ts'
import { createDispatch } from './events/dispatch.ts'
import { clientEvents } from './events/index.ts'
import { createLifecycle } from './lifecycle.ts'
import { createMetrics } from './metrics.ts'
import { createCallerOf } from './presence/caller.ts'
import { createPresence } from './presence/presence.ts'
import { presenceRoutes } from './presence/routes.ts'
import type { Core, Services } from './services.ts'
import type { ChatNamespace, ChatServer, ChatSocket } from './sockets.ts'
import { createStreams } from './streaming/streams.ts'
import { createTyping } from './typing/typing.ts'

export interface GatewayDependencies {
  config: GatewayConfig
  logger: Logger
  registry: Registry
  api: ApiClient
  /** Commands that fail fast. */
  redis: Redis
  /** Its own connection for subscriptions. */
  subscriber: Redis
  /** Another one, for what gateways tell each other of rooms; given up when silent. */
  listener: Redis
  /** A connection for one partition of the streams. */
  connectTail(): StreamConnection
}

export interface Gateway {
  app: HttpServer
  start(): Promise<void>
  /** No more newcomers; sends everybody elsewhere within this many milliseconds. */
  drain(mostMs: number): Promise<void>
  close(): Promise<void>
}

/** The gateway, not yet listening. */
export async function buildApp(dependencies: GatewayDependencies): Promise<Gateway> {
  const { config, logger, registry, api, redis, subscriber, listener } = dependencies
  const figures = createMetrics(registry)
  const revocations = createRevocationList()
  const verifier = createVerifier(config, { revocations })
  const outbound = createOutbound({ onOverflow: figures.overflow })
  const isAllowedOrigin = createOriginCheck({
    origins: config.CORS_ORIGINS,
    production: config.NODE_ENV === 'production',
  })
  let draining = false
  const isRedisConnected = () => [redis, subscriber, listener].every(({ status }) => status === 'ready')

  const app = createHttpServer({ logger })
  problemErrors(app)
  await cors(app, { isAllowed: isAllowedOrigin, methods: ['GET', 'HEAD'] })
  health(app, {
    isReady: () => revocationFeed.isLoaded() && !draining,
    degraded: () => [
      ...(tail.connected() && isRedisConnected() ? [] : ['redis']),
      ...(api.reachable() ? [] : ['api']),
    ],
  })
  await metrics(app, {
    registry,
    ...(config.METRICS_PORT === undefined
      ? {}
      : { listen: { host: config.HOST, port: config.METRICS_PORT } }),
  })
  asyncApiRoutes(app)

  await app.register(fastifySocketIo.default, {
    adapter: createControlAdapter({ publisher: redis, subscriber, logger }),
    cors: {
      origin: (origin, done) => done(null, origin !== undefined && isAllowedOrigin(origin)),
      credentials: true,
    },
    maxHttpBufferSize: LIMITS.requestBytes,
    perMessageDeflate: false,
    httpCompression: false,
    serveClient: false,
    connectTimeout: 10_000,
    preClose: (done) => done(),
  })
  const io: ChatServer = app.io
  const namespace: ChatNamespace = io.of(CHAT_NAMESPACE)
  // There is nothing outside the namespace, and nobody may wait there unnamed.
  io.use((_socket, next) => next(new Error('Invalid namespace')))

  const core: Core = {
    logger,
    registry,
    api,
    verifier,
    revocations,
    outbound,
    rooms: createRooms({ outbound }),
    people: createPeople(),
    lifecycle: createLifecycle(),
  }
  const delivery = createDelivery(core, figures)
  const { follow } = delivery
  const expiry = createExpiry<ChatSocket>(outbound)
  const gatewayId = randomBytes(6).toString('hex')
  const bus = createBus({ subscriber: listener, publisher: redis, logger })
  const shared = { ...core, redis, bus, gatewayId }
  hearRooms(bus, core.lifecycle)
  const presence = createPresence(shared)
  const typing = createTyping(shared)
  const streams = createStreams(shared)
  const { recheck } = delivery
  const services: Services = { ...core, follow, expiry, presence, typing, streams, recheck }
  const callerOf = createCallerOf(verifier)
  await rateLimits(app, { redis, restPerMinute: config.RATE_LIMIT_REST, callerOf })
  presenceRoutes(app, { presence, callerOf, api })

  const admission = createAdmission({ connectsPerMinute: config.RATE_LIMIT_CONNECT })
  const dispatch = createDispatch({
    handlers: clientEvents.map((create) => create(services)),
    outbound,
    logger,
    conversationOf: streams.conversationOf,
    onEvent: figures.clientEvent,
  })
  namespace.use(
    createHandshake({
      verifier,
      admission,
      isAllowedOrigin,
      eventsPerSecond: config.RATE_LIMIT_EVENTS,
      onRefused: figures.refused,
      logger,
    }),
  )
  namespace.on(
    'connection',
    createAccept(core, {
      follow,
      expiry,
      dispatch,
      lookWhoIsHere: services.presence.look,
      forget: createForget(io),
    }),
  )

  const revocationFeed = createRevocationFeed(core, {
    namespace,
    follow,
    isLive: () => tail.live(),
  })
  const tail = createTail({
    connect: dependencies.connectTail,
    partitions: ALL_PARTITIONS,
    logger,
    wants: (partition, org, cid) => partition === 'control' || delivery.wants(org, cid),
    onRead: figures.tailed,
    onEvents: (partition, events) => {
      if (partition === 'control') revocationFeed.onEvents(events)
      else delivery.onEvents(events)
    },
    onLoss: (partition, reason, readUntil) => {
      figures.loss(reason)
      if (partition === 'control') revocationFeed.onDoubt()
      else delivery.onLoss(partition, readUntil)
    },
    onState: (live) => {
      delivery.onTailState(live)
      if (!live) revocationFeed.onDoubt()
    },
  })
  figures.observe({
    sockets: () => namespace.sockets.size,
    rooms: () => core.rooms.size,
    answers: () => streams.size,
    streamsConnected: tail.connected,
    streamsLive: tail.live,
    redisConnected: isRedisConnected,
  })

  return {
    app,
    async start() {
      delivery.onTailState(false)
      tail.start()
      await revocationFeed.load()
    },
    async drain(mostMs) {
      draining = true
      admission.close()
      await drain({ namespace, outbound, mostMs })
    },
    async close() {
      draining = true
      admission.close()
      revocationFeed.close()
      await streams.close()
      typing.close()
      await presence.close()
      bus.close()
      delivery.close()
      await tail.close()
      await app.close()
    },
  }
}
