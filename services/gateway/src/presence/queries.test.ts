import { randomUUID } from 'node:crypto'
import { type Presence, presenceKey, roomChannel, roomPresenceKey } from '@parley/contract'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { openPresenceStore, person, settled, statusChangesIn } from '../testing/presence.ts'
import type { Registration } from './registration.ts'

const store = openPresenceStore(10)
const { expire, gateway, heard, redis, subscriber, told } = store
beforeAll(store.open)
afterAll(store.close)

describe('people', () => {
  test('have a status with its time, both readable right after each change', async () => {
    const org = randomUUID()
    const one = gateway()
    await settled(one)
    const ids = Array.from({ length: 50 }, (_, index) => `u${index}`)
    const statuses: Promise<Presence>[] = []
    const onMessage = (_: string, message: string) => {
      statuses.push(...statusChangesIn(message, org).map(one.queries.status))
    }
    subscriber.on('message', onMessage)
    for (const id of ids) one.registrations.add(person(org, 's', id))
    await settled(one)
    for (const id of ids) one.registrations.remove(person(org, 's', id))
    await settled(one)
    await told(org)
    subscriber.off('message', onMessage)
    const found = await Promise.all(statuses)
    expect(found).toHaveLength(100)
    for (const { at } of found) expect(at).toEqual(expect.any(String))
  })
})

test('people held by a dead gateway are read as there until their departure is told', async () => {
  const [org, cid] = [randomUUID(), randomUUID()]
  await subscriber.subscribe(roomChannel(cid))
  const registrationsOf = (id: string): Registration[] => [
    person(org, id, id),
    { kind: 'room', conversationId: cid, type: 'user', id },
  ]
  const [one, two, dead] = [gateway(), gateway(), gateway()]
  await settled(one, two, dead)
  for (const id of ['returns', 'stays away']) registrationsOf(id).forEach(dead.registrations.add)
  await settled(dead)
  await expire(dead)
  await one.leases.refresh()
  const read = async () => ({
    room: (await one.queries.inRoom(cid)).sort(),
    list: (await one.queries.list(org, 'user', null, 10)).ids,
  })
  expect(await read()).toEqual({
    room: ['user:returns', 'user:stays away'],
    list: ['returns', 'stays away'],
  })
  // Nobody was told that they left, so nobody has to be told that they returned.
  registrationsOf('returns').forEach(two.registrations.add)
  await settled(two)
  await one.reaper.run()
  expect(await read()).toEqual({ room: ['user:returns'], list: ['returns'] })
  await redis.publish(roomChannel(cid), 'end')
  // Not what was heard last: other files tell of their people on the channel that all share.
  const lines = () => heard.flatMap(({ channel, message }) => (channel === roomChannel(cid) ? [message] : []))
  await vi.waitFor(() => expect(lines()).toContain('end'))
  expect(lines().filter((line) => line.startsWith('left'))).toEqual([
    'left {"type":"user","id":"stays away"}',
  ])
  expect(lines().filter((line) => line.includes('"returns"'))).toHaveLength(1)
  expect((await told(org)).slice(2)).toEqual(['stays away offline'])
})

test('entries that nobody will ever clear away are not read as there', async () => {
  const [org, cid, one] = [randomUUID(), randomUUID(), gateway()]
  await settled(one)
  await redis.sadd(presenceKey(org, 'user', 'ada'), 'ghost#1:x')
  await redis.hset(roomPresenceKey(cid, 'user'), 'ada', 'ghost#1')
  expect(await one.queries.inRoom(cid)).toEqual([])
  expect(await one.queries.status({ orgId: org, type: 'user', id: 'ada' })).toMatchObject({
    status: 'offline',
  })
})
