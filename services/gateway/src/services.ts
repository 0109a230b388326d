import { randomBytes } from 'node:crypto'
import { createVerifier, type Verifier } from '@parley/auth'
import type { ApiClient, Logger } from '@parley/service-kit'
import type { Redis } from 'ioredis'
import { createBus } from './bus/bus.ts'
import { hearRooms } from './bus/room-channels.ts'
import type { GatewayConfig } from './config.ts'
import { createExpiry, type Expiry } from './connection/expiry.ts'
import { createOutbound, type Outbound } from './connection/outbound.ts'
import { createPeople, type People } from './connection/people.ts'
import { createKnownRevocations, type KnownRevocations, onceLoaded } from './connection/revocations.ts'
import { createDelivery } from './delivery/delivery.ts'
import type { RoomAccess } from './delivery/room-access.ts'
import { createRooms, type Room, type Rooms } from './delivery/rooms.ts'
import { createLifecycle, type Lifecycle } from './lifecycle.ts'
import type { GatewayMetrics } from './metrics.ts'
import { createPresence, type PresenceFeature } from './presence/presence.ts'
import type { ChatSocket } from './sockets.ts'
import { createStreams, type Streams } from './streaming/streams.ts'
import { createTyping, type Typing } from './typing/typing.ts'

/** What the gateway's features are built on. */
export interface Core {
  logger: Logger
  api: ApiClient
  verifier: Verifier
  revocations: KnownRevocations
  outbound: Outbound
  rooms: Rooms
  people: People
  lifecycle: Lifecycle
}

/** What handlers of client events use. */
export interface Services extends Core {
  roomAccess: RoomAccess
  /** Checks again, in the background, who may be in a room. */
  recheck(room: Room): void
  expiry: Expiry<ChatSocket>
  presence: PresenceFeature
  typing: Typing
  streams: Streams
}

export interface ServiceDependencies {
  config: GatewayConfig
  logger: Logger
  api: ApiClient
  /** Commands that fail fast. */
  redis: Redis
  /** What gateways tell each other about rooms; dropped when it goes silent. */
  busRedis: Redis
  metrics: GatewayMetrics
}

/** Every feature of the gateway, each once. */
export function createServices({ config, logger, api, redis, busRedis, metrics }: ServiceDependencies) {
  const revocations = createKnownRevocations()
  const outbound = createOutbound({ onOverflow: metrics.overflow })
  const core: Core = {
    logger,
    api,
    verifier: onceLoaded(createVerifier(config, { revocations }), revocations),
    revocations,
    outbound,
    rooms: createRooms({ outbound }),
    people: createPeople(),
    lifecycle: createLifecycle(),
  }
  const bus = createBus({ subscriber: busRedis, publisher: redis, logger })
  hearRooms(bus, core.lifecycle)
  const shared = { ...core, redis, bus, gatewayId: randomBytes(6).toString('hex') }
  const delivery = createDelivery(core, metrics)
  const services: Services = {
    ...core,
    roomAccess: delivery.roomAccess,
    recheck: delivery.recheck,
    expiry: createExpiry(outbound),
    presence: createPresence(shared),
    typing: createTyping(shared),
    streams: createStreams(shared),
  }
  return {
    services,
    delivery,
    async close(): Promise<void> {
      await services.streams.close()
      services.typing.close()
      await services.presence.close()
      bus.close()
      delivery.close()
    },
  }
}
