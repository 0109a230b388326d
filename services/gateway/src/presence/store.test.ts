import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import {
  LEASES_KEY,
  PRESENCE_CHANNEL,
  type Presence,
  presenceKey,
  roomChannel,
  roomPresenceKey,
  seenKey,
} from '@parley/contract'
import { startRedis, throwAwayFolder } from '@parley/devstack'
import { createLogger } from '@parley/service-kit'
import fc from 'fast-check'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, inject, test, vi } from 'vitest'
import type { Holding } from './holding.ts'
import { createHoldings } from './holdings.ts'
import { createLeases } from './leases.ts'
import { createPresenceReads } from './reads.ts'
import { createReaper } from './reaper.ts'
import { definePresenceScripts } from './scripts.ts'
import { createPresenceWrites, type Transition } from './writes.ts'

// A database of this file's own: leases are known to all of Redis.
const url = `${inject('redisUrl')}/7`
const logger = createLogger({ name: 'test', level: 'silent' })
let redis: Redis
let subscriber: Redis
const heard: { channel: string; message: string }[] = []

beforeAll(async () => {
  redis = new Redis(url)
  definePresenceScripts(redis)
  subscriber = new Redis(url)
  await redis.flushdb()
  subscriber.on('message', (channel, message) => heard.push({ channel, message }))
  await subscriber.subscribe(PRESENCE_CHANNEL)
})
afterAll(async () => {
  await redis.flushdb()
  await Promise.all([redis.quit(), subscriber.quit()])
})

function gateway({ leaseMs = 60_000, settleMs = 0, on = redis, now = () => performance.now() } = {}) {
  const leases = createLeases(on, { gatewayId: randomUUID(), leaseMs, settleMs, now })
  const writes = createPresenceWrites(on)
  const reaper = createReaper({ redis: on, leases, writes })
  const holdings = createHoldings({ leases, reaper, writes, logger, settleMs })
  const reads = createPresenceReads({ redis: on, leases, writes })
  return { leases, reaper, holdings, reads }
}
type Gateway = ReturnType<typeof gateway>

const person = (orgId: string, socket: string, id = 'ada'): Holding => ({
  kind: 'person',
  orgId,
  type: 'user',
  id,
  socket,
})
/** What was told of the people of an org, oldest first, once all that was sent before has arrived. */
async function told(orgId: string): Promise<string[]> {
  const end = randomUUID()
  await redis.publish(PRESENCE_CHANNEL, end)
  await vi.waitFor(() => expect(heard.some(({ message }) => message === end)).toBe(true))
  return heard.flatMap(({ message }) => {
    const transition = transitionIn(message, orgId)
    return transition ? [`${transition.id} ${transition.status}`] : []
  })
}
function transitionIn(message: string, orgId: string): Transition | null {
  if (!message.startsWith('presence ')) return null
  const transition: Transition = JSON.parse(message.slice('presence '.length))
  return transition.orgId === orgId ? transition : null
}
const sockets = (orgId: string, id = 'ada') => redis.scard(presenceKey(orgId, 'user', id))

async function settled(...gateways: Gateway[]): Promise<void> {
  for (const one of gateways) {
    await one.holdings.renew()
    await one.holdings.flush()
  }
}
/** As if the process were dead: its lease ends, and nobody renews it. */
const expire = (one: Gateway) => redis.hset(LEASES_KEY, one.leases.generation ?? '', 1)

describe('people', () => {
  test('are online from their first socket to their last, over several gateways', async () => {
    const org = randomUUID()
    const [one, two] = [gateway(), gateway()]
    await settled(one, two)
    one.holdings.hold(person(org, 'a'))
    await settled(one)
    two.holdings.hold(person(org, 'b'))
    await settled(two)
    one.holdings.release(person(org, 'a'))
    await settled(one)
    expect(await told(org)).toEqual(['ada online'])
    two.holdings.release(person(org, 'b'))
    await settled(two)
    expect(await told(org)).toEqual(['ada online', 'ada offline'])
    expect([one.holdings.size, two.holdings.size]).toEqual([0, 0])
  })

  test('are online and offline since a known time from the moment on', async () => {
    const org = randomUUID()
    const one = gateway()
    await settled(one)
    const ids = Array.from({ length: 50 }, (_, index) => `u${index}`)
    const statuses: Promise<Presence>[] = []
    const onMessage = (_: string, message: string) => {
      const transition = transitionIn(message, org)
      if (transition) statuses.push(one.reads.status(transition))
    }
    subscriber.on('message', onMessage)
    for (const id of ids) one.holdings.hold(person(org, 's', id))
    await settled(one)
    for (const id of ids) one.holdings.release(person(org, 's', id))
    await settled(one)
    await told(org)
    subscriber.off('message', onMessage)
    const found = await Promise.all(statuses)
    expect(found).toHaveLength(100)
    for (const { at } of found) expect(at).toEqual(expect.any(String))
  })

  test('are held under the names of the contract, and in one slot with when they were seen', async () => {
    const org = randomUUID()
    const one = gateway()
    await settled(one)
    one.holdings.hold(person(org, 'a', 'b:ada'))
    await settled(one)
    expect(await redis.smembers(`presence:user:${org}:b:ada`)).toEqual([`${one.leases.generation}:a`])
    for (const odd of ['a', 'a}b', '{a}b', '{}', '%7Ba']) {
      const key = presenceKey(odd, 'user', odd)
      expect(key).not.toMatch(/[{}]/)
      expect(seenKey(odd, 'user', odd)).toContain(`{${key}}`)
    }
    expect(presenceKey(org, 'user', '{')).not.toBe(presenceKey(org, 'user', '%7B'))
  })

  test('of an org whose name goes on into theirs are others', async () => {
    const org = randomUUID()
    const one = gateway()
    await settled(one)
    one.holdings.hold(person(org, 'a', 'bob:ada'))
    await settled(one)
    expect(await sockets(org, 'bob:ada')).toBe(1)
    expect(await sockets(`${org}:bob`)).toBe(0)
    expect(await sockets(`${org}%3Abob`)).toBe(0)
  })

  test('of a dead gateway are told of once, by one of several reapers', async () => {
    const org = randomUUID()
    const [dead, one, two, three] = [gateway(), gateway(), gateway(), gateway()]
    await settled(dead, one, two, three)
    for (const id of ['ada', 'bob', 'cyd']) dead.holdings.hold(person(org, 's', id))
    one.holdings.hold(person(org, 't', 'bob'))
    await settled(dead, one)
    await expire(dead)
    await Promise.all([one.reaper.run(), two.reaper.run(), three.reaper.run()])
    expect((await told(org)).filter((line) => line.endsWith('offline')).sort()).toEqual([
      'ada offline',
      'cyd offline',
    ])
    expect(await sockets(org, 'bob')).toBe(1)
  })

  test('of a gateway that stood still come back as those of a new generation', async () => {
    const org = randomUUID()
    const [paused, other] = [gateway(), gateway()]
    await settled(paused, other)
    paused.holdings.hold(person(org, 'a'))
    await settled(paused)
    const before = paused.leases.generation
    await expire(paused)
    await other.reaper.run()
    expect(await told(org)).toEqual(['ada online', 'ada offline'])
    // Its first write after the pause still goes out under the generation that was cleared away.
    paused.holdings.hold(person(org, 'late', 'bob'))
    expect(await paused.holdings.renew()).toEqual({ taken: true, lostData: false })
    await paused.holdings.flush()
    expect(paused.leases.generation).not.toBe(before)
    expect(await told(org)).toContain('ada online')
    expect(await sockets(org)).toBe(1)
    expect(await redis.smembers(presenceKey(org, 'user', 'bob'))).toEqual([
      `${paused.leases.generation}:late`,
    ])
  })

  test('are written again silently when Redis lost its data, and those who left meanwhile are told of', async () => {
    const org = randomUUID()
    const [one, two] = [gateway(), gateway()]
    await settled(one, two)
    one.holdings.hold(person(org, 'a', 'stays'))
    one.holdings.hold(person(org, 'b', 'leaves'))
    one.holdings.hold(person(org, 'c', 'moves'))
    two.holdings.hold(person(org, 'd', 'moves'))
    await settled(one, two)
    const before = await told(org)
    await redis.flushdb()
    await settled(two)
    await settled(one)
    one.holdings.release(person(org, 'b', 'leaves'))
    one.holdings.release(person(org, 'c', 'moves'))
    await settled(one)
    expect((await told(org)).slice(before.length)).toEqual(['leaves offline'])
    expect(await sockets(org, 'stays')).toBe(1)
    expect(await sockets(org, 'moves')).toBe(1)
  })

  test('who left while Redis had lost its data are not called gone before others wrote theirs', async () => {
    const org = randomUUID()
    const [one, two] = [gateway({ settleMs: 60_000 }), gateway()]
    await settled(one, two)
    one.holdings.hold(person(org, 'a'))
    two.holdings.hold(person(org, 'b'))
    await settled(one, two)
    await redis.flushdb()
    one.holdings.release(person(org, 'a'))
    await settled(one)
    expect(await told(org)).toEqual(['ada online'])
    expect(one.holdings.size).toBe(1)
  })

  test('who came and left after Redis lost its data are not called gone either before others wrote theirs', async () => {
    const org = randomUUID()
    const [one, two] = [gateway({ settleMs: 60_000 }), gateway()]
    await settled(one, two)
    two.holdings.hold(person(org, 'a'))
    await settled(two)
    await redis.flushdb()
    await settled(one)
    one.holdings.hold(person(org, 'b'))
    await settled(one)
    one.holdings.release(person(org, 'b'))
    await settled(one, two)
    expect(await sockets(org)).toBeGreaterThan(0)
    expect((await told(org)).at(-1)).toBe('ada online')
  })

  test('who came or went after the file was written that Redis was restored from are known again', async () => {
    const org = randomUUID()
    const folder = await throwAwayFolder()
    const server = await startRedis({ dataDir: folder.path, log: () => undefined })
    const own = new Redis(server.url)
    own.on('error', () => undefined)
    definePresenceScripts(own)
    try {
      const one = gateway({ on: own })
      one.holdings.hold(person(org, 'a', 'stays'))
      one.holdings.hold(person(org, 'b', 'leaves'))
      await settled(one)
      await own.save()
      one.holdings.release(person(org, 'b', 'leaves'))
      one.holdings.hold(person(org, 'c', 'comes'))
      await settled(one)
      await server.process.kill()
      await server.process.start()
      await vi.waitFor(() => expect(own.status).toBe('ready'))
      one.leases.doubt()
      await settled(one)
      expect((await one.reads.list(org, 'user', null, 10)).ids).toEqual(['comes', 'stays'])
    } finally {
      own.disconnect()
      await server.process.destroy()
      await folder.remove()
    }
  })

  test('go offline with their last live socket, whatever a dead generation left beside it', async () => {
    const org = randomUUID()
    const one = gateway()
    await settled(one)
    one.holdings.hold(person(org, 'a'))
    await settled(one)
    await redis.sadd(presenceKey(org, 'user', 'ada'), 'ghost#1:x', 'ghost#2:y')
    one.holdings.release(person(org, 'a'))
    await settled(one)
    expect(await sockets(org)).toBe(0)
    expect(await told(org)).toEqual(['ada online', 'ada offline'])
  })
})

test('what Redis does not answer is refused, all of it, and nothing else comes of it', async () => {
  const silent = createServer((socket) => socket.resume()).listen(0, '127.0.0.1')
  await once(silent, 'listening')
  const { port } = silent.address() as AddressInfo
  const stalled = new Redis(port, '127.0.0.1', { enableReadyCheck: false, commandTimeout: 50 })
  stalled.on('error', () => undefined)
  definePresenceScripts(stalled)
  const writes = createPresenceWrites(stalled)
  const holdings = Array.from({ length: 5 }, (_, n) => person(randomUUID(), `socket-${n}`))
  const outcomes = await Promise.allSettled(
    holdings.flatMap((holding) => [
      writes.add({ generation: 'g#1', holding, tell: true }),
      writes.remove({ generation: 'g#1', holding, always: false }),
    ]),
  )
  expect(new Set(outcomes.map(({ status }) => status))).toEqual(new Set(['rejected']))
  stalled.disconnect()
  silent.close()
})

test('who holds no lease any more calls nobody dead, themselves neither', async () => {
  const org = randomUUID()
  const [one, two] = [gateway(), gateway()]
  await settled(one, two)
  one.holdings.hold(person(org, 'a'))
  two.holdings.hold(person(org, 'b'))
  await settled(one, two)
  await Promise.all([expire(one), expire(two)])
  await one.reaper.run()
  expect(await sockets(org)).toBe(2)
  one.holdings.release(person(org, 'a'))
  await one.holdings.flush()
  expect(await told(org)).toEqual(['ada online'])
  expect(await sockets(org)).toBe(1)
})

test('what a gateway held before it stood still is not cleared away before it is held anew', async () => {
  const [org, one] = [randomUUID(), gateway()]
  await settled(one)
  one.holdings.hold(person(org, 'a'))
  await settled(one)
  await expire(one)
  await one.holdings.renew()
  await one.reaper.run()
  await settled(one)
  expect(await told(org)).toEqual(['ada online'])
  expect(await redis.smembers(presenceKey(org, 'user', 'ada'))).toEqual([`${one.leases.generation}:a`])
})

test('of gateways that stood still together, who wakes first gives the others time to renew', async () => {
  const org = randomUUID()
  let now = 0
  const [first, second] = [gateway({ leaseMs: 9_000, settleMs: 6_000, now: () => now }), gateway()]
  await settled(first, second)
  second.holdings.hold(person(org, 'a'))
  await settled(second)
  now = 6_000
  await first.holdings.renew()
  const [seconds = 0] = await redis.time()
  await redis.hset(LEASES_KEY, first.leases.generation ?? '', (Number(seconds) + 3) * 1_000)
  await expire(second)
  await first.holdings.renew()
  for (now of [6_000, 11_999]) await first.reaper.run()
  expect(await told(org)).toEqual(['ada online'])
  now = 12_000
  await first.reaper.run()
  expect(await told(org)).toEqual(['ada online', 'ada offline'])
})

test('a gateway that was not met before is not taken for a dead one', async () => {
  const org = randomUUID()
  const [one, young] = [gateway(), gateway()]
  await settled(one)
  one.holdings.hold(person(org, 'a'))
  await settled(one)
  // What is known of the leases is as fresh as can be, and yet too old.
  const looking = one.leases.refresh()
  await settled(young)
  young.holdings.hold(person(org, 'b'))
  await settled(young)
  one.holdings.release(person(org, 'a'))
  await settled(one)
  await looking
  expect(await sockets(org)).toBe(1)
  expect(await told(org)).toEqual(['ada online'])
})

test('a room tells of the first gateway that holds somebody and of the last', async () => {
  const cid = randomUUID()
  await subscriber.subscribe(roomChannel(cid))
  const place: Holding = { kind: 'room', conversationId: cid, type: 'agent', id: 'a b:c' }
  const [one, two, dead] = [gateway(), gateway(), gateway()]
  await settled(one, two, dead)
  for (const each of [one, two, dead]) {
    each.holdings.hold(place)
    await settled(each)
  }
  expect(await redis.hkeys(roomPresenceKey(cid, 'agent'))).toEqual(['a b:c'])
  one.holdings.release(place)
  two.holdings.release(place)
  await settled(one, two)
  await expire(dead)
  await Promise.all([one.reaper.run(), two.reaper.run()])
  await redis.publish(roomChannel(cid), 'end')
  await vi.waitFor(() => expect(heard.at(-1)?.message).toBe('end'))
  const lines = heard.filter(({ channel }) => channel === roomChannel(cid)).map(({ message }) => message)
  expect(lines).toEqual(['joined {"type":"agent","id":"a b:c"}', 'left {"type":"agent","id":"a b:c"}', 'end'])
  expect(await redis.exists(roomPresenceKey(cid, 'agent'))).toBe(0)
})

test('whom a dead gateway held is read as there until they are told to have left', async () => {
  const [org, cid] = [randomUUID(), randomUUID()]
  await subscriber.subscribe(roomChannel(cid))
  const holdingsOf = (id: string): Holding[] => [
    person(org, id, id),
    { kind: 'room', conversationId: cid, type: 'user', id },
  ]
  const [one, two, dead] = [gateway(), gateway(), gateway()]
  await settled(one, two, dead)
  for (const id of ['returns', 'stays away']) holdingsOf(id).forEach(dead.holdings.hold)
  await settled(dead)
  await expire(dead)
  await one.leases.refresh()
  const read = async () => ({
    room: (await one.reads.inRoom(cid)).sort(),
    list: (await one.reads.list(org, 'user', null, 10)).ids,
  })
  expect(await read()).toEqual({
    room: ['user:returns', 'user:stays away'],
    list: ['returns', 'stays away'],
  })
  // Nobody was told of their going, so nobody has to be told of their return.
  holdingsOf('returns').forEach(two.holdings.hold)
  await settled(two)
  await one.reaper.run()
  expect(await read()).toEqual({ room: ['user:returns'], list: ['returns'] })
  await redis.publish(roomChannel(cid), 'end')
  await vi.waitFor(() => expect(heard.at(-1)?.message).toBe('end'))
  const lines = heard.flatMap(({ channel, message }) => (channel === roomChannel(cid) ? [message] : []))
  expect(lines.filter((line) => line.startsWith('left'))).toEqual(['left {"type":"user","id":"stays away"}'])
  expect(lines.filter((line) => line.includes('"returns"'))).toHaveLength(1)
  expect((await told(org)).slice(2)).toEqual(['stays away offline'])
})

test('what nobody will ever clear away is not read as there', async () => {
  const [org, cid, one] = [randomUUID(), randomUUID(), gateway()]
  await settled(one)
  await redis.sadd(presenceKey(org, 'user', 'ada'), 'ghost#1:x')
  await redis.hset(roomPresenceKey(cid, 'user'), 'ada', 'ghost#1')
  expect(await one.reads.inRoom(cid)).toEqual([])
  expect(await one.reads.status({ orgId: org, type: 'user', id: 'ada' })).toMatchObject({ status: 'offline' })
})

test('whatever happens in whatever order, who is told of and who is in Redis is who has a live socket', async () => {
  const step = fc.oneof(
    fc.record({ do: fc.constant('hold' as const), gateway: fc.nat(2), socket: fc.nat(3) }),
    fc.record({ do: fc.constant('release' as const), gateway: fc.nat(2), socket: fc.nat(3) }),
    fc.record({ do: fc.constantFrom('die' as const, 'pause' as const, 'reap' as const), gateway: fc.nat(2) }),
  )
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
      const org = randomUUID()
      const gateways = [gateway(), gateway(), gateway()]
      const model = gateways.map(() => new Set<string>())
      await settled(...gateways)
      const at = (i: number) => gateways[i] ?? gateway()
      for (const each of steps) {
        const one = at(each.gateway)
        if (each.do === 'hold') {
          one.holdings.hold(person(org, `s${each.socket}`))
          model[each.gateway]?.add(`s${each.socket}`)
        } else if (each.do === 'release') {
          one.holdings.release(person(org, `s${each.socket}`))
          model[each.gateway]?.delete(`s${each.socket}`)
        } else if (each.do === 'reap') {
          await one.reaper.run()
        } else if (each.do === 'pause') {
          await settled(one)
          await expire(one)
        } else {
          await settled(one)
          await expire(one)
          gateways[each.gateway] = gateway()
          model[each.gateway]?.clear()
          await settled(at(each.gateway))
        }
      }
      await settled(...gateways)
      for (const one of gateways) await one.reaper.run()
      const live = model.reduce((sum, set) => sum + set.size, 0)
      expect(await sockets(org)).toBe(live)
      const lines = await told(org)
      expect(lines.at(-1) ?? 'ada offline').toBe(live > 0 ? 'ada online' : 'ada offline')
      // Each is told of when it changes and not again.
      expect(lines.every((line, i) => line === (i % 2 === 0 ? 'ada online' : 'ada offline'))).toBe(true)
    }),
    { numRuns: 40 },
  )
})

test('the scripts of a room keep who is held by whom, and tell of the first and of the last, after a wipe too', async () => {
  const id = fc.constantFrom('ada', 'a b', 'ada:1')
  const generation = fc.constantFrom('g#1', 'g#11', 'gg#1')
  const step = fc.oneof(
    {
      weight: 5,
      arbitrary: fc.record({ do: fc.constant('enter' as const), id, generation, tell: fc.boolean() }),
    },
    {
      weight: 5,
      arbitrary: fc.record({ do: fc.constant('leave' as const), id, generation, tell: fc.boolean() }),
    },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('wipe' as const) }) },
  )
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const key = roomPresenceKey(randomUUID(), 'user')
      const channel = randomUUID()
      await subscriber.subscribe(channel)
      const model = new Map<string, string[]>()
      const lines: string[] = []
      for (const one of steps) {
        if (one.do === 'wipe') {
          await redis.del(key)
          model.clear()
          continue
        }
        const held = model.get(one.id) ?? []
        const isHeld = held.includes(one.generation)
        const line = `${one.do} ${one.id}`
        const flag = one.tell ? '1' : '0'
        if (one.do === 'enter') {
          const isFirst = held.length === 0
          if (!isHeld) model.set(one.id, [...held, one.generation])
          if (isFirst && one.tell) lines.push(line)
          expect(await redis.roomEnter(key, one.id, one.generation, channel, line, flag)).toBe(
            Number(isFirst),
          )
        } else {
          const rest = held.filter((other) => other !== one.generation)
          const isTold = rest.length === 0 && (isHeld || one.tell)
          if (rest.length > 0) model.set(one.id, rest)
          else model.delete(one.id)
          if (isTold) lines.push(line)
          const answer = await redis.roomLeave(key, one.id, one.generation, channel, line, flag)
          expect(answer).toEqual([Number(isTold), rest, Number(isHeld)])
        }
      }
      const stored = Object.entries(await redis.hgetall(key)).map(([who, held]) => [who, held.split(' ')])
      expect(new Map(stored as [string, string[]][])).toEqual(model)
      await redis.publish(channel, 'end')
      const told = () => heard.filter((one) => one.channel === channel).map(({ message }) => message)
      await vi.waitFor(() => expect(told()).toEqual([...lines, 'end']), { interval: 1 })
      await subscriber.unsubscribe(channel)
      await redis.del(key)
    }),
  )
})
