import { randomUUID } from 'node:crypto'
import { LEASES_KEY, PRESENCE_CHANNEL, presenceKey } from '@parley/contract'
import { createLogger } from '@parley/service-kit'
import { Redis } from 'ioredis'
import { expect, inject, vi } from 'vitest'
import { createLeases } from '../presence/leases.ts'
import { createPresenceQueries } from '../presence/queries.ts'
import { createReaper } from '../presence/reaper.ts'
import type { Registration } from '../presence/registration.ts'
import { createRegistrations } from '../presence/registrations.ts'
import { definePresenceScripts } from '../presence/scripts.ts'
import { createPresenceWrites, type StatusChange } from '../presence/writes.ts'

const logger = createLogger({ name: 'test', level: 'silent' })

type Gateway = ReturnType<typeof createGateway>

function createGateway(redis: Redis, settleMs: number, lease: { leaseMs: number; now(): number }) {
  const leases = createLeases(redis, { gatewayId: randomUUID(), settleMs, ...lease })
  const writes = createPresenceWrites(redis)
  const reaper = createReaper({ redis, leases, writes })
  const registrations = createRegistrations({ leases, reaper, writes, logger, settleMs })
  const queries = createPresenceQueries({ redis, leases, writes })
  return { leases, reaper, registrations, queries }
}

/** What gateways hold in Redis, in a database of the test's own, since leases are shared within one. */
export function openPresenceStore(database: number) {
  const url = `${inject('redisUrl')}/${database}`
  const redis = new Redis(url)
  const subscriber = new Redis(url)
  const heard: { channel: string; message: string }[] = []
  definePresenceScripts(redis)
  subscriber.on('message', (channel, message) => heard.push({ channel, message }))

  return {
    redis,
    subscriber,
    heard,

    async open(): Promise<void> {
      await redis.flushdb()
      await subscriber.subscribe(PRESENCE_CHANNEL)
    },
    async close(): Promise<void> {
      await redis.flushdb()
      await Promise.all([redis.quit(), subscriber.quit()])
    },

    gateway: ({ leaseMs = 60_000, settleMs = 0, on = redis, now = () => performance.now() } = {}) =>
      createGateway(on, settleMs, { leaseMs, now }),
    /** As if the process were dead: its lease ends, and nobody renews it. */
    expire: (one: Gateway) => redis.hset(LEASES_KEY, one.leases.generation ?? '', 1),

    /** What was told about the people of an org, oldest first, once all that was sent before has arrived. */
    async told(orgId: string): Promise<string[]> {
      const end = randomUUID()
      await redis.publish(PRESENCE_CHANNEL, end)
      await vi.waitFor(() => expect(heard.some(({ message }) => message === end)).toBe(true))
      return heard
        .flatMap(({ message }) => statusChangesIn(message, orgId))
        .map(({ id, status }) => `${id} ${status}`)
    },
    sockets: (orgId: string, id = 'ada') => redis.scard(presenceKey(orgId, 'user', id)),
  }
}

export const person = (orgId: string, socket: string, id = 'ada'): Registration => ({
  kind: 'person',
  orgId,
  type: 'user',
  id,
  socket,
})

export async function settled(...gateways: Gateway[]): Promise<void> {
  for (const one of gateways) {
    await one.registrations.renew()
    await one.registrations.flush()
  }
}

export function statusChangesIn(message: string, orgId: string): StatusChange[] {
  if (!message.startsWith('presence ')) return []
  const changes: StatusChange[] = JSON.parse(message.slice('presence '.length))
  return changes.filter((change) => change.orgId === orgId)
}
