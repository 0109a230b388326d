import { ALL_PARTITIONS } from '@parley/contract'
import { createTail, type TailConnection } from '@parley/events'
import { createRevocationFeed } from './connection/revocations.ts'
import type { Delivery } from './delivery/delivery.ts'
import type { GatewayMetrics } from './metrics.ts'
import type { Core } from './services.ts'
import type { ChatNamespace } from './sockets.ts'

/** Follows the event streams: conversation events go to delivery, revocations to the sockets they concern. */
export function createTailing(
  core: Core,
  {
    connect,
    namespace,
    delivery,
    metrics,
  }: {
    /** A connection for one partition of the streams. */
    connect(): TailConnection
    namespace: ChatNamespace
    delivery: Delivery
    metrics: GatewayMetrics
  },
) {
  const revocationFeed = createRevocationFeed(core, {
    namespace,
    roomAccess: delivery.roomAccess,
    isLive: () => tail.live(),
  })
  const tail = createTail({
    connect,
    partitions: ALL_PARTITIONS,
    logger: core.logger,
    wants: (partition, org, cid) => partition === 'control' || delivery.wants(org, cid),
    onRead: metrics.tailed,
    onEvents: (partition, events) => {
      if (partition === 'control') revocationFeed.onEvents(events)
      else delivery.onEvents(events)
    },
    onLoss: (partition, reason, readUntil) => {
      metrics.loss(reason)
      if (partition === 'control') revocationFeed.readNow()
      else delivery.onLoss(partition, readUntil)
    },
    onState: (live) => {
      delivery.onTailState(live)
      if (!live) revocationFeed.readNow()
    },
  })

  return {
    /** Resolves once the list of revocations was requested, whether or not there was an answer. */
    async start(): Promise<void> {
      delivery.onTailState(false)
      tail.start()
      await revocationFeed.start()
    },
    connected: tail.connected,
    live: tail.live,
    async close(): Promise<void> {
      revocationFeed.close()
      await tail.close()
    },
  }
}
