import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { heldKey, presenceKey, roomPresenceKey, seenKey } from '@parley/contract'
import fc from 'fast-check'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { openPresenceStore, person, settled } from '../testing/presence.ts'
import { encodeRegistration } from './registration.ts'
import { definePresenceScripts } from './scripts.ts'
import { createPresenceWrites } from './writes.ts'

const store = openPresenceStore(12)
const { gateway, heard, redis, sockets, subscriber } = store
beforeAll(store.open)
afterAll(store.close)

describe('people', () => {
  test('are held under the names of the contract, in one slot with when they were last seen', async () => {
    const org = randomUUID()
    const one = gateway()
    await settled(one)
    one.registrations.add(person(org, 'a', 'b:ada'))
    await settled(one)
    expect(await redis.smembers(`presence:user:${org}:b:ada`)).toEqual([`${one.leases.generation}:a`])
    for (const odd of ['a', 'a}b', '{a}b', '{}', '%7Ba']) {
      const key = presenceKey(odd, 'user', odd)
      expect(key).not.toMatch(/[{}]/)
      expect(seenKey(odd, 'user', odd)).toContain(`{${key}}`)
    }
    expect(presenceKey(org, 'user', '{')).not.toBe(presenceKey(org, 'user', '%7B'))
  })

  test('whose ids have colons never share a presence key across orgs', async () => {
    const org = randomUUID()
    const one = gateway()
    await settled(one)
    one.registrations.add(person(org, 'a', 'bob:ada'))
    await settled(one)
    expect(await sockets(org, 'bob:ada')).toBe(1)
    expect(await sockets(`${org}:bob`)).toBe(0)
    expect(await sockets(`${org}%3Abob`)).toBe(0)
  })
})

test('writes that Redis does not answer all reject', async () => {
  const silent = createServer((socket) => socket.resume()).listen(0, '127.0.0.1')
  await once(silent, 'listening')
  const { port } = silent.address() as AddressInfo
  const stalled = new Redis(port, '127.0.0.1', { enableReadyCheck: false, commandTimeout: 50 })
  stalled.on('error', () => undefined)
  definePresenceScripts(stalled)
  const writes = createPresenceWrites(stalled)
  const registrations = Array.from({ length: 5 }, (_, n) => person(randomUUID(), `socket-${n}`))
  const outcomes = await Promise.allSettled(
    registrations.flatMap((registration) => [
      writes.add({ generation: 'g#1', registration, tell: true }),
      writes.remove({ generation: 'g#1', registration, always: false }),
    ]),
  )
  expect(new Set(outcomes.map(({ status }) => status))).toEqual(new Set(['rejected']))
  stalled.disconnect()
  silent.close()
})

test.for(['person', 'room'] as const)('a %s that can not be written keeps no other from it', async (kind) => {
  const org = randomUUID()
  const conversationIds = { ada: randomUUID(), bob: randomUUID(), cyd: randomUUID() }
  const ids = ['ada', 'bob', 'cyd'] as const
  type Id = (typeof ids)[number]
  const keyOf = (id: Id) =>
    kind === 'person' ? presenceKey(org, 'user', id) : roomPresenceKey(conversationIds[id], 'user')
  const writes = createPresenceWrites(redis)
  const change = (id: Id) => {
    const registration =
      kind === 'person'
        ? person(org, 'socket', id)
        : ({ kind, conversationId: conversationIds[id], type: 'user', id } as const)
    return { generation: org, registration, tell: true, always: false }
  }
  const holds = (id: Id) => redis.sismember(heldKey(org), encodeRegistration(change(id).registration))
  const spoiled = async (work: () => Promise<unknown>[]) => {
    await redis.rename(keyOf('bob'), `${org}:aside`).catch(() => undefined)
    await redis.set(keyOf('bob'), 'something else')
    const outcomes = await Promise.allSettled(work())
    await redis.del(keyOf('bob'))
    await redis.rename(`${org}:aside`, keyOf('bob')).catch(() => undefined)
    return outcomes.map(({ status }) => status)
  }
  const present = () => Promise.all(ids.map((id) => redis.exists(keyOf(id))))

  expect(await spoiled(() => ids.map((id) => writes.add(change(id))))).toEqual([
    'fulfilled',
    'rejected',
    'fulfilled',
  ])
  expect(await present()).toEqual([1, 0, 1])
  await writes.add(change('bob'))
  expect(await spoiled(() => ids.map((id) => writes.remove(change(id))))).toEqual([
    'fulfilled',
    'rejected',
    'fulfilled',
  ])
  expect(await present()).toEqual([0, 1, 0])
  expect(await Promise.all(ids.map(holds))).toEqual([0, 1, 0])
  await writes.remove(change('bob'))
  expect(await present()).toEqual([0, 0, 0])
  if (kind === 'person')
    expect(await store.told(org)).toEqual([
      'ada online',
      'cyd online',
      'bob online',
      'ada offline',
      'cyd offline',
      'bob offline',
    ])
  await redis.del(heldKey(org))
})

test('the scripts of a room keep which generations hold whom, and tell of the first and the last, also after a wipe', async () => {
  const id = fc.constantFrom('ada', 'a b', 'ada:1')
  const generation = fc.constantFrom('g#1', 'g#11', 'gg#1')
  const room = fc.constantFrom(0, 1)
  const entries = fc.array(fc.record({ room, id, generation, tell: fc.boolean() }), {
    minLength: 1,
    maxLength: 3,
  })
  const step = fc.oneof(
    { weight: 5, arbitrary: fc.record({ do: fc.constant('enter' as const), entries }) },
    { weight: 5, arbitrary: fc.record({ do: fc.constant('leave' as const), entries }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('wipe' as const) }) },
  )
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
      const keys = [0, 1].map(() => roomPresenceKey(randomUUID(), 'user'))
      const channels = [randomUUID(), randomUUID()]
      await subscriber.subscribe(...channels)
      const models = [new Map<string, string[]>(), new Map<string, string[]>()]
      const lines: string[][] = [[], []]
      for (const one of steps) {
        if (one.do === 'wipe') {
          await redis.del(...keys)
          for (const model of models) model.clear()
          continue
        }
        const answers = one.entries.map(({ room, id, generation, tell }) => {
          const model = models[room] ?? new Map<string, string[]>()
          const held = model.get(id) ?? []
          const isHeld = held.includes(generation)
          const rest = held.filter((other) => other !== generation)
          const isTold =
            one.do === 'enter' ? held.length === 0 && tell : rest.length === 0 && (isHeld || tell)
          const now = one.do === 'enter' ? [...held, ...(isHeld ? [] : [generation])] : rest
          if (now.length > 0) model.set(id, now)
          else model.delete(id)
          if (isTold) lines[room]?.push(`${one.do} ${id}`)
          return [Number(isTold), rest, Number(isHeld)]
        })
        const each = one.entries.flatMap(({ room, id, generation, tell }) => [
          id,
          generation,
          channels[room] ?? '',
          `${one.do} ${id}`,
          tell ? '1' : '0',
        ])
        const of = one.entries.map(({ room }) => keys[room] ?? '')
        if (one.do === 'enter') await redis.roomEnter(of.length, ...of, ...each)
        else expect(await redis.roomLeave(of.length, ...of, ...each)).toEqual(answers)
      }
      for (const [room, key] of keys.entries()) {
        const stored = Object.entries(await redis.hgetall(key)).map(([who, held]) => [who, held.split(' ')])
        expect(new Map(stored as [string, string[]][])).toEqual(models[room])
        const channel = channels[room] ?? ''
        await redis.publish(channel, 'end')
        const told = () => heard.filter((one) => one.channel === channel).map(({ message }) => message)
        await vi.waitFor(() => expect(told()).toEqual([...(lines[room] ?? []), 'end']), { interval: 1 })
      }
      await subscriber.unsubscribe(...channels)
      await redis.del(...keys)
    }),
  )
})
