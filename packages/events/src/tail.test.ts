import { once } from 'node:events'
import net, { type AddressInfo } from 'node:net'
import tls from 'node:tls'
import { ALL_PARTITIONS, eventsKey, eventsPulseKey, type PublishedEvent, partitionOf } from '@parley/contract'
import { startRedis, throwAwayFolder } from '@parley/devstack'
import fc from 'fast-check'
import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest'
import { connectTail } from './connection.ts'
import { encodeEntry } from './entries.ts'
import type { LossReason } from './position.ts'
import { createPublisher } from './publisher.ts'
import { createPulse } from './pulse.ts'
import { createReader } from './resp.ts'
import { createTail, type Tail, type TailOptions } from './tail.ts'
import { certificate } from './testing/certificate.ts'

const quiet = { debug: () => undefined, warn: () => undefined }
const partitions = ALL_PARTITIONS

/** A conversation of partition 0. */
const room = Array.from({ length: 100 }, (_, n) => n.toString(16).padStart(24, '0')).find(
  (id) => partitionOf(id) === 0,
) as string
const message = (seq: number, cid = room): PublishedEvent => ({
  type: 'message.created',
  org: 'o',
  cid,
  seq,
  data: '{}',
})
/** The same as Redis holds it. */
const fields = (seq: number): (string | number)[] => encodeEntry(message(seq))

let folder: Awaited<ReturnType<typeof throwAwayFolder>>
let server: Awaited<ReturnType<typeof startRedis>>
let admin: Redis
const open: Redis[] = []
const tails: Tail[] = []

const client = (options: object = {}) => {
  const redis = new Redis(server.url, { retryStrategy: () => 20, maxRetriesPerRequest: null, ...options })
  redis.on('error', () => undefined)
  open.push(redis)
  return redis
}

/** What one tail told, in order: numbers of messages, and losses. */
type Told = number | LossReason
function follow(options: Partial<TailOptions> = {}): { tail: Tail; told: Told[]; at: string[] } {
  const told: Told[] = []
  const at: string[] = []
  const tail = createTail({
    connect: () => connectTail(server.url, { name: 'tail' }),
    partitions: [0],
    logger: quiet,
    onEvents: (_, events) => {
      for (const event of events) {
        told.push(event.seq ?? -1)
        at.push(event.at)
      }
    },
    onLoss: (_, reason) => told.push(reason),
    ...options,
  })
  tails.push(tail)
  tail.start()
  return { tail, told, at }
}

const connected = (tail: Tail) => vi.waitFor(() => expect(tail.connected()).toBe(true), { interval: 5 })
const publisher = () => createPublisher({ redis: client(), logger: quiet })
const nowhere = 'redis://127.0.0.1:1'
const soon = { interval: 10 }

beforeAll(async () => {
  folder = await throwAwayFolder()
  server = await startRedis({ dataDir: folder.path, persistent: true })
  admin = new Redis(server.url, { retryStrategy: () => 20, maxRetriesPerRequest: null })
  admin.on('error', () => undefined)
})
afterAll(async () => {
  admin.disconnect()
  await server.process.destroy()
  await folder.remove()
})
beforeEach(async () => {
  await admin.flushall()
})
afterEach(async () => {
  await Promise.all(tails.splice(0).map((tail) => tail.close()))
  for (const redis of open.splice(0)) redis.disconnect()
})

test('events of many partitions arrive once each, each room in its order', async () => {
  const seen = new Map<string, number[]>()
  const { tail } = follow({
    partitions,
    onEvents: (partition, events) => {
      for (const { cid, seq } of events) {
        expect(partition).toBe(partitionOf(cid))
        seen.set(cid, [...(seen.get(cid) ?? []), seq ?? -1])
      }
    },
  })
  await connected(tail)
  const rooms = Array.from({ length: 40 }, (_, n) => n.toString(16).padStart(24, 'a'))
  const { publish } = publisher()
  const numbers = Array.from({ length: 30 }, (_, n) => n + 1)
  await Promise.all(numbers.map((seq) => publish(rooms.map((cid) => message(seq, cid)))))
  await vi.waitFor(() => expect([...seen.values()].flat()).toHaveLength(rooms.length * numbers.length), soon)
  for (const cid of rooms) expect(seen.get(cid)).toEqual(numbers)
})

test('a revocation goes to the control stream', async () => {
  const onEvents = vi.fn()
  const { tail } = follow({ partitions, onEvents })
  await connected(tail)
  const data = JSON.stringify({ type: 'user', id: 'ada', before: 5 })
  await publisher().publish([{ type: 'auth.revoked', org: 'o', cid: '', data }])
  await vi.waitFor(() => expect(onEvents).toHaveBeenCalledOnce(), soon)
  expect(onEvents).toHaveBeenCalledWith('control', [
    { at: expect.any(String), type: 'auth.revoked', org: 'o', cid: '', data },
  ])
})

test('what was written before the start is not told, but reported as unseen', async () => {
  const { publish } = publisher()
  await publish([message(1), message(2)])
  const { tail, told } = follow()
  await connected(tail)
  await publish([message(3)])
  await vi.waitFor(() => expect(told).toEqual(['started', 3]), soon)
})

test('a lost connection costs nothing: the tail continues where it stood', async () => {
  const { tail, told } = follow()
  await connected(tail)
  const { publish } = publisher()
  await publish([message(1)])
  await vi.waitFor(() => expect(told).toEqual(['started', 1]), soon)
  await admin.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
  await publish([message(2)])
  await vi.waitFor(() => expect(told).toEqual(['started', 1, 2]), soon)
})

test('a wipe is noticed also when nothing is written after it', async () => {
  const { tail, told } = follow()
  await connected(tail)
  await publisher().publish([message(1)])
  await vi.waitFor(() => expect(told).toEqual(['started', 1]), soon)
  await admin.flushall()
  await vi.waitFor(() => expect(told).toEqual(['started', 1, 'wiped']), soon)
})

test('two readers of one wiped Redis both notice', async () => {
  const [first, second] = [follow(), follow()]
  await Promise.all([connected(first.tail), connected(second.tail)])
  await admin.flushall()
  for (const { told } of [first, second]) {
    await vi.waitFor(() => expect(told).toEqual(['started', 'wiped']), soon)
  }
})

test('an emptied stream whose epoch remains is noticed', async () => {
  const { tail, told } = follow()
  await connected(tail)
  await publisher().publish([message(1)])
  await vi.waitFor(() => expect(told).toEqual(['started', 1]), soon)
  await admin.del(eventsKey(0))
  await vi.waitFor(() => expect(told).toEqual(['started', 1, 'rewound']), soon)
  // The cursor went back too: without that, ids lower than the last one read would never be asked for.
  await admin.xadd(eventsKey(0), '1-1', ...fields(2))
  await vi.waitFor(() => expect(told).toEqual(['started', 1, 'rewound', 2]), soon)
})

test('lower ids issued by a restored stream are read, and what lay between is reported as unseen', async () => {
  const { tail, told, at } = follow()
  await connected(tail)
  const { publish } = publisher()
  await publish([message(1)])
  const old = await admin.dumpBuffer(eventsKey(0))
  await publish([message(2), message(3)])
  await vi.waitFor(() => expect(told).toEqual(['started', 1, 2, 3]), soon)
  await admin.restore(eventsKey(0), 0, old as Buffer, 'REPLACE')
  await vi.waitFor(() => expect(told).toEqual(['started', 1, 2, 3, 'rewound']), soon)
  // What a clock that went back would give: an id between what was restored and what was read.
  const [ms, n] = (at[0] ?? '').split('-').map(Number)
  const lower = `${ms}-${(n ?? 0) + 1}`
  await admin.xadd(eventsKey(0), lower, ...fields(4))
  await vi.waitFor(() => expect(told).toEqual(['started', 1, 2, 3, 'rewound', 4]), soon)
})

test('a restart is reported even if the stream looks complete', async () => {
  const { tail, told } = follow()
  await connected(tail)
  await publisher().publish([message(1)])
  await vi.waitFor(() => expect(told).toEqual(['started', 1]), soon)
  await server.process.stop(5_000)
  await vi.waitFor(() => expect(tail.connected()).toBe(false), soon)
  await server.process.start()
  await vi.waitFor(() => expect(told).toEqual(['started', 1, 'restarted']), soon)
  await publisher().publish([message(2)])
  await vi.waitFor(() => expect(told).toEqual(['started', 1, 'restarted', 2]), soon)
})

test('entries trimmed before they were read are reported as unseen', async () => {
  let hold: Promise<unknown> | undefined
  const { tail, told } = follow({
    // A connection that fails for a while stands for a reader that was paused.
    connect: () => connectTail(hold ? nowhere : server.url, { name: 'tail' }),
  })
  await connected(tail)
  const { publish } = publisher()
  await publish([message(1)])
  await vi.waitFor(() => expect(told).toEqual(['started', 1]), soon)
  hold = Promise.resolve()
  await admin.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
  await vi.waitFor(() => expect(tail.connected()).toBe(false), soon)
  await publish([message(2), message(3)])
  await admin.xtrim(eventsKey(0), 'MAXLEN', 1)
  hold = undefined
  await vi.waitFor(() => expect(told).toEqual(['started', 1, 'trimmed']), soon)
  await publish([message(4)])
  await vi.waitFor(() => expect(told).toEqual(['started', 1, 'trimmed', 4]), soon)
})

test('if more is left than one read takes, what was lost before it is reported as missing since then', async () => {
  let hold = false
  let readUntil = 0
  const { tail, told } = follow({
    connect: () => connectTail(hold ? nowhere : server.url, { name: 'tail' }),
    onLoss: (_, reason, until) => {
      told.push(reason)
      readUntil = until
    },
  })
  await connected(tail)
  hold = true
  await admin.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
  await vi.waitFor(() => expect(tail.connected()).toBe(false), soon)
  const before = Date.now()
  await publisher().publish(Array.from({ length: 700 }, (_, n) => message(n + 1)))
  await admin.xtrim(eventsKey(0), 'MAXLEN', 600)
  hold = false
  await vi.waitFor(() => expect(told.at(-1)).toBe('trimmed'), soon)
  expect(readUntil).toBeLessThanOrEqual(before)
})

test('entries trimmed from a stream that was empty at the start are reported as unseen', async () => {
  let hold = false
  const { tail, told } = follow({
    connect: () => connectTail(hold ? nowhere : server.url, { name: 'tail' }),
  })
  await connected(tail)
  hold = true
  await admin.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
  await vi.waitFor(() => expect(tail.connected()).toBe(false), soon)
  await publisher().publish([message(1), message(2)])
  await admin.xtrim(eventsKey(0), 'MAXLEN', 1)
  hold = false
  await vi.waitFor(() => expect(told).toEqual(['started', 'trimmed']), soon)
})

test('a Redis that stops answering is left and found again', async () => {
  const { tail, told } = follow()
  await connected(tail)
  server.process.pause()
  await vi.waitFor(() => expect(tail.connected()).toBe(false), soon)
  server.process.resume()
  await connected(tail)
  await publisher().publish([message(1)])
  await vi.waitFor(() => expect(told).toEqual(['started', 1]), soon)
})

test('trimming follows the clock of Redis and keeps a minute', async () => {
  const { publish } = publisher()
  const key = eventsKey(0)
  const now = Date.now()
  // Trimming goes by whole nodes of 100 entries.
  for (let n = 0; n < 200; n++) await admin.xadd(key, `${now - 70_000}-${n + 1}`, ...fields(1))
  for (let n = 0; n < 200; n++) await admin.xadd(key, `${now - 50_000}-${n + 1}`, ...fields(1))
  await publish([message(1)])
  expect(await admin.xlen(key)).toBe(401)
  await publish([message(2)])
  const length = await admin.xlen(key)
  expect(length).toBeGreaterThanOrEqual(202)
  expect(length).toBeLessThanOrEqual(302)
})

test('a stream that nobody can write to is silent, however well it can be read', async () => {
  const states: boolean[] = []
  const { tail, told } = follow({ partitions, onState: (live) => states.push(live) })
  await connected(tail)
  expect(tail.live()).toBe(false)
  const pulse = createPulse({ redis: client(), logger: quiet })
  await vi.waitFor(() => expect(states).toEqual([true]), soon)
  pulse.close()
  await vi.waitFor(() => expect(states).toEqual([true, false]), soon)
  expect([tail.connected(), tail.live()]).toEqual([true, false])
  expect(told).toEqual([...partitions.map(() => 'started'), ...partitions.map(() => 'unheard')])
})

test('what was written elsewhere, until somebody shows that they write here again, is reported as unseen', async () => {
  let readUntil = Number.POSITIVE_INFINITY
  await admin.set(eventsPulseKey(0), '1')
  const { tail, told } = follow({
    checkMs: 20,
    onLoss: (_, reason, until) => {
      told.push(reason)
      readUntil = until
    },
  })
  await vi.waitFor(() => expect(tail.live()).toBe(true), soon)
  expect(told).toEqual(['started'])
  await admin.del(eventsPulseKey(0))
  const gone = Date.now()
  await vi.waitFor(() => expect(tail.live()).toBe(false), soon)
  await admin.set(eventsPulseKey(0), '1')
  await vi.waitFor(() => expect(told).toEqual(['started', 'unheard']), soon)
  expect(readUntil).toBeLessThanOrEqual(gone)
  await vi.waitFor(() => expect(tail.live()).toBe(true), soon)
})

test('what was written elsewhere, while nobody showed that they could write here, is reported as unseen', async () => {
  let asked = 0
  let readUntil = Number.POSITIVE_INFINITY
  await admin.set(eventsPulseKey(0), '1')
  const { tail, told } = follow({
    checkMs: 20,
    connect: () => {
      const connection = connectTail(server.url, { name: 'tail' })
      return { ...connection, ask: (commands) => connection.ask(commands).finally(() => asked++) }
    },
    onLoss: (_, reason, until) => {
      told.push(reason)
      readUntil = until
    },
  })
  await vi.waitFor(() => expect(tail.live()).toBe(true), soon)
  await admin.del(eventsPulseKey(0))
  const gone = Date.now()
  await vi.waitFor(() => expect(tail.live()).toBe(false), soon)
  const before = asked
  await vi.waitFor(() => expect(asked).toBeGreaterThan(before + 5), soon)
  await admin.flushall()
  await vi.waitFor(() => expect(told).toEqual(['started', 'wiped']), soon)
  expect(readUntil).toBeLessThanOrEqual(gone)
})

test('publishing without Redis rejects at once and names what is missing', async () => {
  const redis = client({
    path: '/nowhere',
    enableOfflineQueue: false,
    maxRetriesPerRequest: 1,
    retryStrategy: null,
  })
  const events = [message(1), message(2, 'f'.repeat(24))]
  await expect(createPublisher({ redis, logger: quiet }).publish(events)).rejects.toMatchObject({
    name: 'PublishError',
    failed: expect.arrayContaining(events),
  })
})

test('an entry that went between two reads is reported as unseen, though the reading goes on', async () => {
  const { tail, told } = follow()
  await connected(tail)
  const { publish } = publisher()
  await publish([message(1)])
  await vi.waitFor(() => expect(told).toEqual(['started', 1]), soon)
  // In one step, so that the blocked reader is served with the third and never sees the second.
  await admin
    .multi()
    .xadd(eventsKey(0), '*', ...fields(2))
    .xtrim(eventsKey(0), 'MAXLEN', 0)
    .xadd(eventsKey(0), '*', ...fields(3))
    .exec()
  await vi.waitFor(() => expect(told).toEqual(['started', 1, 3, 'trimmed']), soon)
})

test('a connection shows the user, password and database of its URL', async () => {
  await admin.call('ACL', 'SETUSER', 'reader', 'on', '>se:cr€t/', '~*', '&*', '+@all')
  const { host } = new URL(server.url)
  const right = connectTail(`redis://reader:${encodeURIComponent('se:cr€t/')}@${host}/3`, { name: 'me' })
  await right.ready()
  const info = createReader(await right.ask([['CLIENT', 'INFO']])).value()
  expect(info).toMatch(/ name=me .* db=3 .* user=reader /)
  right.close()
  await expect(right.ask([['PING']])).rejects.toThrow('closed')
  const wrong = connectTail(`redis://reader:guess@${host}`, { name: 'me' })
  await expect(wrong.ready()).rejects.toThrow('Redis refused')
  wrong.close()
})

test('a connection by TLS reads the same, and none is made to a server that can’t prove its name', async () => {
  const { port, hostname } = new URL(server.url)
  const proxy = tls.createServer(certificate, (client) => {
    const redis = net.connect(Number(port), hostname)
    client.pipe(redis).pipe(client)
    for (const socket of [client, redis]) socket.on('error', () => undefined)
  })
  proxy.on('tlsClientError', () => undefined).listen(0)
  await once(proxy, 'listening')
  const url = `rediss://localhost:${(proxy.address() as AddressInfo).port}`
  const stranger = connectTail(url, { name: 'tail' })
  await expect(stranger.ready()).rejects.toThrow('the connection failed')
  tls.setDefaultCACertificates([...tls.getCACertificates(), certificate.cert])
  const { tail, told } = follow({ connect: () => connectTail(url, { name: 'tail' }) })
  await connected(tail)
  const { publish } = publisher()
  const large = { ...message(2), data: JSON.stringify('ü'.repeat(2_000)) }
  await publish([message(1), ...Array<PublishedEvent>(100).fill(large), message(3)])
  await vi.waitFor(() => expect(told).toEqual(['started', 1, ...Array<number>(100).fill(2), 3]), soon)
  await tail.close()
  proxy.close()
})

test('whatever happens to Redis, no event is missed unreported', async () => {
  const step = fc.constantFrom('publish', 'publish', 'publish', 'cut', 'wipe', 'trim', 'settle')
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 15 }), async (steps) => {
      await admin.flushall()
      let begun = 0
      const read: number[] = []
      /** Events that a fill covered: all that were begun when a loss was told. */
      let covered = 0
      const { tail } = follow({
        checkMs: 40,
        onEvents: (_, events) => read.push(...events.map((event) => event.seq ?? -1)),
        onLoss: () => {
          covered = begun
        },
      })
      await connected(tail)
      const { publish } = publisher()
      const complete = () => {
        const missing = Array.from({ length: begun }, (_, n) => n + 1).filter(
          (n) => n > covered && !read.includes(n),
        )
        expect(missing).toEqual([])
      }
      for (const what of steps) {
        if (what === 'publish') await publish([message(++begun), message(++begun)])
        else if (what === 'cut') await admin.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
        else if (what === 'wipe') await admin.flushall()
        else if (what === 'trim') await admin.xtrim(eventsKey(0), 'MAXLEN', 0)
        else if (what === 'settle') await vi.waitFor(complete, soon)
      }
      await vi.waitFor(complete, soon)
      expect(read).toEqual([...new Set(read)].sort((a, b) => a - b))
      await tail.close()
    }),
    { numRuns: 40, interruptAfterTimeLimit: 20_000 },
  )
}, 40_000)
