import { setTimeout as delay } from 'node:timers/promises'
import { signUserToken } from '@parley/auth'
import type { PublishedEvent, PublishedEventType } from '@parley/contract'
import { startRedis, throwAwayFolder } from '@parley/devstack'
import { connectTail, createPublisher, createPulse } from '@parley/events'
import {
  type ApiClient,
  closeRedis,
  connectRedis,
  createLogger,
  createRegistry,
  loadConfig,
  redisReady,
} from '@parley/service-kit'
import { io, type Socket } from 'socket.io-client'
import { expect, vi } from 'vitest'
import { buildApp } from '../app.ts'
import { GatewayConfig } from '../config.ts'

const SECRETS = { JWT_SECRET: 'j'.repeat(32), SERVICE_SECRET: 's'.repeat(32) }

/** A gateway in this process, with its own Redis and the test's api. */
export async function startTestGateway(api: ApiClient, env: Record<string, string> = {}) {
  const folder = await throwAwayFolder()
  const redisServer = await startRedis({ dataDir: folder.path, log: () => undefined })
  const REDIS_URL = redisServer.url
  const config = loadConfig(GatewayConfig, { REDIS_URL, API_URL: 'http://127.0.0.1:1', ...SECRETS, ...env })
  const logger = createLogger({ name: 'gateway', level: 'silent' })
  const redis = connectRedis(REDIS_URL, { name: 'test', kind: 'fast' })
  const adapterRedis = connectRedis(REDIS_URL, { name: 'test-control', kind: 'waiting' })
  const busRedis = connectRedis(REDIS_URL, { name: 'test-bus', kind: 'subscribing' })
  await redisReady(redis, 5_000)
  const pulse = createPulse({ redis, logger })
  const registry = createRegistry('gateway')
  const gateway = await buildApp({
    config,
    logger,
    registry,
    api,
    redis,
    adapterRedis,
    busRedis,
    connectTail: () => connectTail(REDIS_URL, { name: 'test-tail' }),
  })
  const url = await gateway.app.listen({ host: '127.0.0.1', port: 0 })
  await gateway.start()
  const figure = async (name: string) => (await registry.getSingleMetric(name)?.get())?.values[0]?.value
  // Before that it may have missed something, and asks the api.
  await vi.waitFor(async () => expect(await figure('gateway_streams_live')).toBe(1))
  const publisher = createPublisher({ redis, logger })
  const sockets: Socket[] = []

  /** A bare client; resolves when it is connected, rejects with the `connect_error`. */
  async function tryConnect(token: string, options: object = {}): Promise<Socket> {
    const socket = io(`${url}/chat`, {
      transports: ['websocket'],
      auth: { token },
      forceNew: true,
      reconnection: false,
      ...options,
    })
    sockets.push(socket)
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve)
      socket.once('connect_error', reject)
    })
    return socket
  }

  return {
    url,
    gateway,
    redis,
    redisServer: redisServer.process,
    token: (sub: string, orgId: string, more: object = {}) =>
      signUserToken(SECRETS.JWT_SECRET, { sub, orgId, ...more }),
    tryConnect,
    /** The same, but comes back when it is told to: as clients do, where the gateway has too much to do just now. */
    async connect(token: string, options: object = {}): Promise<Socket> {
      for (let tries = 1; ; tries++) {
        try {
          return await tryConnect(token, options)
        } catch (error) {
          const { data } = error as { data?: { code?: string; reconnectAfterMs?: number } }
          if (data?.code !== 'overloaded' || tries === 10) throw error
          await delay(data.reconnectAfterMs)
        }
      }
    },
    /** Conversations that somebody here follows. */
    rooms: () => figure('gateway_rooms'),
    publish: (events: PublishedEvent[]) => publisher.publish(events),
    event: (
      type: PublishedEventType,
      { id, orgId }: { id: string; orgId: string },
      fields: { seq?: number; change?: number; member?: string; to?: string[]; data?: unknown },
    ): PublishedEvent => ({
      type,
      org: orgId,
      cid: id,
      ...(fields.seq === undefined ? {} : { seq: fields.seq }),
      ...(fields.change === undefined ? {} : { change: fields.change }),
      ...(fields.member === undefined ? {} : { member: fields.member }),
      ...(fields.to === undefined ? {} : { to: fields.to }),
      ...(fields.data === undefined ? {} : { data: JSON.stringify(fields.data) }),
    }),
    async close(): Promise<void> {
      for (const socket of sockets) socket.disconnect()
      await gateway.close()
      pulse.close()
      await Promise.all([closeRedis(redis), closeRedis(adapterRedis), closeRedis(busRedis)])
      await redisServer.process.destroy()
      await folder.remove()
    },
  }
}
