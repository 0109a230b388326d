import { LEASES_KEY, PRESENCE_CHANNEL, roomPresenceKey } from '@parley/contract'
import { startRedis, throwAwayFolder } from '@parley/devstack'
import { closeRedis, connectRedis, createLogger } from '@parley/service-kit'
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest'
import { createBus } from '../bus/bus.ts'
import { createOutbound } from '../connection/outbound.ts'
import { createRooms, type Room } from '../delivery/rooms.ts'
import { createLifecycle } from '../lifecycle.ts'
import type { ChatSocket } from '../sockets.ts'
import { createLeases } from './leases.ts'
import { createPresence, type PRESENCE_TIMES } from './presence.ts'
import { createReaper } from './reaper.ts'
import { createRosters } from './rosters.ts'
import { createPresenceWrites, type StatusChange } from './writes.ts'

const ORG = 'acme'
const ROOM = '665f1c2ab1d4e8a3c9d0f1a2'
const logger = createLogger({ name: 'test', level: 'silent' })
const ends: (() => Promise<unknown>)[] = []
let connect: (kind: 'fast' | 'subscribing') => ReturnType<typeof connectRedis>
/** Who came and went, as all gateways were told. */
const told: string[] = []

// A server of this file's own: one test fills it.
beforeAll(async () => {
  const folder = await throwAwayFolder()
  const { url, process } = await startRedis({ dataDir: folder.path, log: () => undefined })
  ends.push(folder.remove, process.destroy)
  connect = (kind) => {
    const redis = connectRedis(url, { name: 'presence-test', kind })
    ends.push(() => closeRedis(redis))
    return redis
  }
  const listener = connect('subscribing')
  await vi.waitFor(() => expect(listener.status).toBe('ready'))
  listener.on('message', (_, message: string) => {
    const changes: StatusChange[] = JSON.parse(message.slice('presence '.length))
    told.push(...changes.map(({ id, status }) => `${id} ${status}`))
  })
  await listener.subscribe(PRESENCE_CHANNEL)
})
afterAll(async () => {
  for (const end of ends.reverse()) await end()
})
const closing: (() => Promise<void>)[] = []
afterEach(async () => {
  vi.useRealTimers()
  vi.restoreAllMocks()
  for (const close of closing.splice(0)) await close()
})

async function open(gatewayId: string, times: Partial<typeof PRESENCE_TIMES>) {
  const [redis, subscriber] = [connect('fast'), connect('subscribing')]
  await vi.waitFor(() => expect([redis.status, subscriber.status]).toEqual(['ready', 'ready']))
  await redis.flushall()
  told.length = 0
  const bus = createBus({ subscriber, publisher: redis, logger })
  const outbound = createOutbound()
  const rooms = createRooms({ outbound })
  const lifecycle = createLifecycle()
  const presence = createPresence({ redis, bus, rooms, outbound, lifecycle, logger, gatewayId, times })
  const room: Room = rooms.ensure(ROOM)
  closing.push(presence.close, async () => bus.close())
  return {
    redis,
    /** Enters the room. Returns a function that cuts the connection. */
    come(id: string): () => void {
      const socket = {
        id,
        connected: true,
        data: { orgId: ORG, type: 'user', userId: id, key: `user:${id}` },
      }
      lifecycle.emit('connected', socket as ChatSocket)
      lifecycle.emit('joined', socket as ChatSocket, room)
      return () => {
        socket.connected = false
        lifecycle.emit('left', socket as ChatSocket, room)
        lifecycle.emit('disconnected', socket as ChatSocket)
      }
    },
  }
}

test('a Redis that is full, so that no lease is renewed, calls nobody offline', async () => {
  const { redis, come } = await open('full', { leaseMs: 200, renewMs: 20, settleMs: 0 })
  come('ada')
  await vi.waitFor(() => expect(told).toEqual(['ada online']))
  const refused = async () =>
    Number(/errorstat_OOM:count=(\d+)/.exec(await redis.info('errorstats'))?.[1] ?? 0)
  await redis.config('SET', 'maxmemory', '1')
  try {
    await vi.waitFor(async () => expect((await redis.leaseList(LEASES_KEY))[0]).toEqual([]))
    const before = await refused()
    await vi.waitFor(async () => expect(await refused()).toBeGreaterThan(before + 5))
  } finally {
    await redis.config('SET', 'maxmemory', '0')
  }
  await vi.waitFor(async () => expect((await redis.leaseList(LEASES_KEY))[0]).not.toEqual([]))
  expect(told).toEqual(['ada online'])
})

test('people who left while their gateway stood still, also if noticed only as it wakes, do not come back', async () => {
  vi.useFakeTimers({ toFake: ['setInterval'] })
  const renewMs = 10_000
  const { redis, come } = await open('still', { renewMs, settleMs: 0 })
  const elsewhere = createLeases(redis, { gatewayId: 'elsewhere', leaseMs: 60_000, settleMs: 0 })
  await elsewhere.renew()
  const leave = new Map(['ada', 'bob', 'cyd'].map((id) => [id, come(id)]))
  await vi.waitFor(() => expect(told).toHaveLength(3))
  await redis.hset(LEASES_KEY, 'still#1', 1)
  await createReaper({ redis, leases: elsewhere, writes: createPresenceWrites(redis) }).run()
  await vi.waitFor(() => expect(told).toHaveLength(6))
  const take = redis.leaseTake.bind(redis)
  vi.spyOn(redis, 'leaseTake').mockImplementation(async (...args) => {
    const epoch = await take(...args)
    setImmediate(() => leave.get('bob')?.())
    return epoch
  })
  leave.get('ada')?.()
  vi.advanceTimersByTime(renewMs)
  await vi.waitFor(async () => {
    expect(told).toContain('cyd online')
    expect(await redis.hkeys(roomPresenceKey(ROOM, 'user'))).toEqual(['cyd'])
  })
  expect(told.slice(6)).toEqual(['cyd online'])
})

test('rooms that are being checked as the gateway ends are not checked again', async () => {
  vi.useFakeTimers()
  const answers: ((answer: Promise<string[]>) => void)[] = []
  const fail = () => answers.shift()?.(Promise.reject(new Error('Redis is away')))
  const rosters = createRosters({
    bus: { hold: async () => undefined, release: () => undefined, onRestored: () => undefined },
    lifecycle: createLifecycle(),
    read: () => new Promise((resolve) => answers.push(resolve)),
    here: () => [],
    tell: () => undefined,
    settleMs: 1,
    logger,
  })
  const viewing = rosters.view(ROOM)
  await vi.advanceTimersByTimeAsync(0)
  fail()
  const view = await viewing
  view.join('user:ada')
  view.close()
  await vi.advanceTimersByTimeAsync(1)
  expect(answers).toHaveLength(1)
  rosters.close()
  fail()
  await vi.advanceTimersByTimeAsync(0)
  expect(vi.getTimerCount()).toBe(0)
})
