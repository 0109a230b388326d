import { randomUUID } from 'node:crypto'
import { closeRedis, connectRedis, createLogger } from '@parley/service-kit'
import { afterAll, beforeAll, expect, inject, test, vi } from 'vitest'
import { type Bus, createBus } from './bus.ts'

const logger = createLogger({ name: 'test', level: 'silent' })
const name = `bus-${randomUUID()}`
const connect = (kind: 'fast' | 'subscribing') => connectRedis(inject('redisUrl'), { name, kind, logger })
const connections = [connect('fast'), connect('subscribing'), connect('subscribing')] as const
const [publisher, subscriber, other] = connections
let bus: Bus
let elsewhere: Bus
beforeAll(async () => {
  await vi.waitFor(() => expect(connections.every(({ status }) => status === 'ready')).toBe(true))
  bus = createBus({ subscriber, publisher, logger })
  elsewhere = createBus({ subscriber: other, publisher, logger })
})
afterAll(async () => {
  bus.close()
  elsewhere.close()
  await Promise.all(connections.map(closeRedis))
})

test('a channel is heard from its first hold to its last release, in order, by every bus that holds it', async () => {
  const channel = randomUUID()
  const heard: string[] = []
  bus.handle('word', (on, payload) => heard.push(`${on === channel} ${payload}`))
  elsewhere.handle('word', (_on, payload) => heard.push(payload))
  await Promise.all([bus.hold(channel), bus.hold(channel), elsewhere.hold(channel)])
  bus.release(channel)
  for (const word of ['one', 'two words']) expect(await bus.publish(channel, 'word', word)).toBe(true)
  await vi.waitFor(() => expect(heard).toHaveLength(4))
  expect(heard.filter((line) => line.startsWith('true'))).toEqual(['true one', 'true two words'])
  expect(heard.filter((line) => !line.startsWith('true'))).toEqual(['one', 'two words'])
  bus.release(channel)
  await vi.waitFor(async () => expect(await publisher.pubsub('NUMSUB', channel)).toEqual([channel, 1]))
  await bus.publish(channel, 'word', 'three')
  await vi.waitFor(() => expect(heard).toContain('three'))
  expect(heard).not.toContain('true three')
})

test('a handler that fails does not keep the next message from its handler', async () => {
  const channel = randomUUID()
  const heard: string[] = []
  bus.handle('fragile', (_on, payload) => {
    if (payload === 'bad') throw new Error('cannot')
    heard.push(payload)
  })
  await bus.hold(channel)
  await bus.publish(channel, 'unknown', 'x')
  await bus.publish(channel, 'fragile', 'bad')
  await bus.publish(channel, 'fragile', 'good')
  await vi.waitFor(() => expect(heard).toEqual(['good']))
})

test('after a broken connection it hears again, and reports that messages may have been missed', async () => {
  const channel = randomUUID()
  let restored = 0
  const heard: string[] = []
  bus.onRestored(() => {
    restored += 1
  })
  bus.handle('again', (_on, payload) => heard.push(payload))
  await bus.hold(channel)
  subscriber.stream.destroy()
  await vi.waitFor(() => expect(restored).toBe(1))
  expect(await bus.publish(channel, 'again', 'here')).toBe(true)
  await vi.waitFor(() => expect(heard).toEqual(['here']))
})

test('what was released while Redis was away is not heard again', async () => {
  const [kept, released, late] = [randomUUID(), randomUUID(), randomUUID()]
  await Promise.all([bus.hold(kept), bus.hold(released)])
  const restored = new Promise<void>((resolve) => bus.onRestored(resolve))
  // Under way as the connection breaks; it must not be repeated on the next one either.
  const asking = bus.hold(late)
  subscriber.stream.destroy()
  await vi.waitFor(() => expect(subscriber.status).not.toBe('ready'))
  bus.release(released)
  bus.release(late)
  await Promise.all([asking, restored])
  const heard = async () => (await publisher.pubsub('NUMSUB', kept, released, late)).filter(Number.isInteger)
  await vi.waitFor(async () => expect(await heard()).toEqual([1, 0, 0]))
})

test('a channel held before the first connection is reported as possibly having missed messages', async () => {
  const channel = randomUUID()
  const late = connect('subscribing')
  const own = createBus({ subscriber: late, publisher, logger })
  const restored = new Promise<void>((resolve) => own.onRestored(resolve))
  await own.hold(channel)
  expect(await publisher.pubsub('NUMSUB', channel)).toEqual([channel, 0])
  await restored
  expect(await publisher.pubsub('NUMSUB', channel)).toEqual([channel, 1])
  own.close()
  await closeRedis(late)
})

test('more channels than one call takes are all heard on the next connection', async () => {
  const late = connect('subscribing')
  const own = createBus({ subscriber: late, publisher, logger })
  const restored = new Promise<void>((resolve) => own.onRestored(resolve))
  const channels = Array.from({ length: 150_000 }, (_, n) => `${name} ${n}`)
  await Promise.all(channels.map((channel) => own.hold(channel)))
  await restored
  const ends = channels.filter((_, n) => n % 1_000 === 0 || n % 1_000 === 999)
  const heard = (await publisher.pubsub('NUMSUB', ...ends)).filter((count) => count === 1)
  expect(heard).toHaveLength(ends.length)
  own.close()
  await closeRedis(late)
})
