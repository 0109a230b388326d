import { randomUUID } from 'node:crypto'
import { LEASES_KEY, presenceKey } from '@parley/contract'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openPresenceStore, person, settled } from '../testing/presence.ts'

const store = openPresenceStore(11)
const { expire, gateway, redis, sockets, told } = store
beforeAll(store.open)
afterAll(store.close)

describe('people', () => {
  test('of a dead gateway are told of once, by one of several reapers', async () => {
    const org = randomUUID()
    const [dead, one, two, three] = [gateway(), gateway(), gateway(), gateway()]
    await settled(dead, one, two, three)
    for (const id of ['ada', 'bob', 'cyd']) dead.registrations.add(person(org, 's', id))
    one.registrations.add(person(org, 't', 'bob'))
    await settled(dead, one)
    await expire(dead)
    await Promise.all([one.reaper.run(), two.reaper.run(), three.reaper.run()])
    expect((await told(org)).filter((line) => line.endsWith('offline')).sort()).toEqual([
      'ada offline',
      'cyd offline',
    ])
    expect(await sockets(org, 'bob')).toBe(1)
  })

  test('go offline with their last live socket, whatever a dead generation left beside it', async () => {
    const org = randomUUID()
    const one = gateway()
    await settled(one)
    one.registrations.add(person(org, 'a'))
    await settled(one)
    await redis.sadd(presenceKey(org, 'user', 'ada'), 'ghost#1:x', 'ghost#2:y')
    one.registrations.remove(person(org, 'a'))
    await settled(one)
    expect(await sockets(org)).toBe(0)
    expect(await told(org)).toEqual(['ada online', 'ada offline'])
  })
})

test('a gateway that no longer holds a lease calls nobody dead, itself included', async () => {
  const org = randomUUID()
  const [one, two] = [gateway(), gateway()]
  await settled(one, two)
  one.registrations.add(person(org, 'a'))
  two.registrations.add(person(org, 'b'))
  await settled(one, two)
  await Promise.all([expire(one), expire(two)])
  await one.reaper.run()
  expect(await sockets(org)).toBe(2)
  one.registrations.remove(person(org, 'a'))
  await one.registrations.flush()
  expect(await told(org)).toEqual(['ada online'])
  expect(await sockets(org)).toBe(1)
})

test('what a gateway held before it stood still is not cleared away until it is registered anew', async () => {
  const [org, one] = [randomUUID(), gateway()]
  await settled(one)
  one.registrations.add(person(org, 'a'))
  await settled(one)
  await expire(one)
  await one.registrations.renew()
  await one.reaper.run()
  await settled(one)
  expect(await told(org)).toEqual(['ada online'])
  expect(await redis.smembers(presenceKey(org, 'user', 'ada'))).toEqual([`${one.leases.generation}:a`])
})

test('of gateways that stood still together, the first to wake gives the others time to renew', async () => {
  const org = randomUUID()
  let now = 0
  const [first, second] = [gateway({ leaseMs: 9_000, settleMs: 6_000, now: () => now }), gateway()]
  await settled(first, second)
  second.registrations.add(person(org, 'a'))
  await settled(second)
  now = 6_000
  await first.registrations.renew()
  const [seconds = 0] = await redis.time()
  await redis.hset(LEASES_KEY, first.leases.generation ?? '', (Number(seconds) + 3) * 1_000)
  await expire(second)
  await first.registrations.renew()
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
  one.registrations.add(person(org, 'a'))
  await settled(one)
  // The leases were read as recently as can be, and yet too early.
  const looking = one.leases.refresh()
  await settled(young)
  young.registrations.add(person(org, 'b'))
  await settled(young)
  one.registrations.remove(person(org, 'a'))
  await settled(one)
  await looking
  expect(await sockets(org)).toBe(1)
  expect(await told(org)).toEqual(['ada online'])
})
