import { randomUUID } from 'node:crypto'
import { presenceKey, roomChannel, roomPresenceKey } from '@parley/contract'
import { startRedis, throwAwayFolder } from '@parley/devstack'
import fc from 'fast-check'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { openPresenceStore, person, settled } from '../testing/presence.ts'
import type { Registration } from './registration.ts'
import { definePresenceScripts } from './scripts.ts'

const store = openPresenceStore(9)
const { expire, gateway, heard, redis, sockets, subscriber, told } = store
beforeAll(store.open)
afterAll(store.close)

describe('people', () => {
  test('are online from their first socket to their last, over several gateways', async () => {
    const org = randomUUID()
    const [one, two] = [gateway(), gateway()]
    await settled(one, two)
    one.registrations.add(person(org, 'a'))
    await settled(one)
    two.registrations.add(person(org, 'b'))
    await settled(two)
    one.registrations.remove(person(org, 'a'))
    await settled(one)
    expect(await told(org)).toEqual(['ada online'])
    two.registrations.remove(person(org, 'b'))
    await settled(two)
    expect(await told(org)).toEqual(['ada online', 'ada offline'])
    expect([one.registrations.size, two.registrations.size]).toEqual([0, 0])
  })

  test('of a gateway that stood still come back under a new generation', async () => {
    const org = randomUUID()
    const [paused, other] = [gateway(), gateway()]
    await settled(paused, other)
    paused.registrations.add(person(org, 'a'))
    await settled(paused)
    const before = paused.leases.generation
    await expire(paused)
    await other.reaper.run()
    expect(await told(org)).toEqual(['ada online', 'ada offline'])
    // The first write after the pause still goes out under the generation that was cleared away.
    paused.registrations.add(person(org, 'late', 'bob'))
    expect(await paused.registrations.renew()).toEqual({ taken: true, lostData: false })
    await paused.registrations.flush()
    expect(paused.leases.generation).not.toBe(before)
    expect(await told(org)).toContain('ada online')
    expect(await sockets(org)).toBe(1)
    expect(await redis.smembers(presenceKey(org, 'user', 'bob'))).toEqual([
      `${paused.leases.generation}:late`,
    ])
  })

  test('are written again silently when Redis lost its data, and departures meanwhile are told', async () => {
    const org = randomUUID()
    const [one, two] = [gateway(), gateway()]
    await settled(one, two)
    one.registrations.add(person(org, 'a', 'stays'))
    one.registrations.add(person(org, 'b', 'leaves'))
    one.registrations.add(person(org, 'c', 'moves'))
    two.registrations.add(person(org, 'd', 'moves'))
    await settled(one, two)
    const before = await told(org)
    await redis.flushdb()
    await settled(two)
    await settled(one)
    one.registrations.remove(person(org, 'b', 'leaves'))
    one.registrations.remove(person(org, 'c', 'moves'))
    await settled(one)
    expect((await told(org)).slice(before.length)).toEqual(['leaves offline'])
    expect(await sockets(org, 'stays')).toBe(1)
    expect(await sockets(org, 'moves')).toBe(1)
  })

  test('who left after Redis lost its data are not called gone before the others wrote theirs', async () => {
    const org = randomUUID()
    const [one, two] = [gateway({ settleMs: 60_000 }), gateway()]
    await settled(one, two)
    one.registrations.add(person(org, 'a'))
    two.registrations.add(person(org, 'b'))
    await settled(one, two)
    await redis.flushdb()
    one.registrations.remove(person(org, 'a'))
    await settled(one)
    expect(await told(org)).toEqual(['ada online'])
    expect(one.registrations.size).toBe(1)
  })

  test('who came and left after Redis lost its data are not called gone either before the others wrote theirs', async () => {
    const org = randomUUID()
    const [one, two] = [gateway({ settleMs: 60_000 }), gateway()]
    await settled(one, two)
    two.registrations.add(person(org, 'a'))
    await settled(two)
    await redis.flushdb()
    await settled(one)
    one.registrations.add(person(org, 'b'))
    await settled(one)
    one.registrations.remove(person(org, 'b'))
    await settled(one, two)
    expect(await sockets(org)).toBeGreaterThan(0)
    expect((await told(org)).at(-1)).toBe('ada online')
  })

  test('who left and came back while Redis did not answer are there again', async () => {
    const org = randomUUID()
    const folder = await throwAwayFolder()
    const server = await startRedis({ dataDir: folder.path, log: () => undefined })
    const own = new Redis(server.url)
    const impatient = new Redis(server.url, { commandTimeout: 100 })
    definePresenceScripts(impatient)
    try {
      const one = gateway({ on: impatient })
      const online = async () => (await one.queries.list(org, 'user', null, 10)).ids
      one.registrations.add(person(org, 'a'))
      // Until all of it was done in time.
      await vi.waitFor(() => settled(one))
      await vi.waitFor(async () => expect(await online()).toEqual(['ada']))
      // What is sent now is done later, when nobody waits for its answer any more.
      await own.client('PAUSE', 300, 'ALL')
      one.registrations.remove(person(org, 'a'))
      await one.registrations.flush().catch(() => undefined)
      // Nor does it arrive at first that they came back.
      vi.spyOn(impatient, 'presenceAdd').mockRejectedValueOnce(new Error('Redis is away'))
      one.registrations.add(person(org, 'a'))
      await own.ping()
      await vi.waitFor(() => settled(one))
      await vi.waitFor(async () => expect(await online()).toEqual(['ada']))
    } finally {
      own.disconnect()
      impatient.disconnect()
      await server.process.destroy()
      await folder.remove()
    }
  })

  test('who came or went after the file was written from which Redis was restored are known again', async () => {
    const org = randomUUID()
    const folder = await throwAwayFolder()
    const server = await startRedis({ dataDir: folder.path, log: () => undefined })
    const own = new Redis(server.url)
    own.on('error', () => undefined)
    definePresenceScripts(own)
    try {
      const one = gateway({ on: own })
      one.registrations.add(person(org, 'a', 'stays'))
      one.registrations.add(person(org, 'b', 'leaves'))
      await settled(one)
      await own.save()
      one.registrations.remove(person(org, 'b', 'leaves'))
      one.registrations.add(person(org, 'c', 'comes'))
      await settled(one)
      await server.process.kill()
      await server.process.start()
      await vi.waitFor(() => expect(own.status).toBe('ready'))
      one.leases.onReconnected()
      await settled(one)
      expect((await one.queries.list(org, 'user', null, 10)).ids).toEqual(['comes', 'stays'])
    } finally {
      own.disconnect()
      await server.process.destroy()
      await folder.remove()
    }
  })
})

test('a room tells of the first gateway that holds somebody and of the last', async () => {
  const cid = randomUUID()
  await subscriber.subscribe(roomChannel(cid))
  const entry: Registration = { kind: 'room', conversationId: cid, type: 'agent', id: 'a b:c' }
  const [one, two, dead] = [gateway(), gateway(), gateway()]
  await settled(one, two, dead)
  for (const each of [one, two, dead]) {
    each.registrations.add(entry)
    await settled(each)
  }
  expect(await redis.hkeys(roomPresenceKey(cid, 'agent'))).toEqual(['a b:c'])
  one.registrations.remove(entry)
  two.registrations.remove(entry)
  await settled(one, two)
  await expire(dead)
  await Promise.all([one.reaper.run(), two.reaper.run()])
  await redis.publish(roomChannel(cid), 'end')
  // Not what was heard last: other files tell of their people on the channel that all share.
  const lines = () => heard.flatMap(({ channel, message }) => (channel === roomChannel(cid) ? [message] : []))
  await vi.waitFor(() => expect(lines()).toContain('end'))
  expect(lines()).toEqual([
    'joined {"type":"agent","id":"a b:c"}',
    'left {"type":"agent","id":"a b:c"}',
    'end',
  ])
  expect(await redis.exists(roomPresenceKey(cid, 'agent'))).toBe(0)
})

test('whatever happens in whatever order, those told and those in Redis are those with a live socket', async () => {
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
          one.registrations.add(person(org, `s${each.socket}`))
          model[each.gateway]?.add(`s${each.socket}`)
        } else if (each.do === 'release') {
          one.registrations.remove(person(org, `s${each.socket}`))
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
      // Each change is told once.
      expect(lines.every((line, i) => line === (i % 2 === 0 ? 'ada online' : 'ada offline'))).toBe(true)
    }),
    { numRuns: 40 },
  )
})
