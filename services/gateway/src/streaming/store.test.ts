import { randomUUID } from 'node:crypto'
import { streamTextKey } from '@parley/contract'
import { startRedis, throwAwayFolder } from '@parley/devstack'
import { createLogger } from '@parley/service-kit'
import fc from 'fast-check'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, expect, inject, test, vi } from 'vitest'
import { createStreamStore, type StreamStore } from './store.ts'

const logger = createLogger({ name: 'test', level: 'silent' })
let redis: Redis
let subscriber: Redis
let store: StreamStore
const heard: string[] = []
beforeAll(async () => {
  redis = new Redis(inject('redisUrl'))
  subscriber = new Redis(inject('redisUrl'))
  subscriber.on('message', (_channel, message) => heard.push(message))
  store = createStreamStore({ redis, logger })
})
afterAll(async () => {
  await Promise.all([redis.quit(), subscriber.quit()])
})

/** A stream, and what its room is told. */
async function begin() {
  const [cid, id] = [randomUUID(), randomUUID()]
  const channel = `room:${cid}`
  await subscriber.subscribe(channel)
  return {
    cid,
    id,
    claim: (token: string) => store.claim(cid, id, 1, token),
    append: (token: string, index: number, text: string) =>
      store.append(id, token, { index, text }, channel, `${id} ${index} ${text}`),
    told: async () => {
      const end = randomUUID()
      await redis.publish(channel, end)
      await vi.waitFor(() => expect(heard).toContain(end))
      return heard.filter((line) => line.startsWith(`${id} `)).map((line) => line.slice(id.length + 1))
    },
  }
}

test('a text has one owner, the last who claimed it; what others still write is neither kept nor told', async () => {
  const stream = await begin()
  expect(await stream.claim('first')).toBe('')
  expect(await stream.append('first', 0, 'Hel')).toBe('owned')
  expect(await stream.claim('second')).toBe('Hel')
  expect(await stream.append('first', 3, 'p!')).toBe('taken')
  expect(await stream.append('second', 3, 'lo')).toBe('owned')
  expect(await store.touch(stream.id, 'first')).toBe('taken')
  expect(await store.touch(stream.id, 'second')).toBe('owned')
  expect(await store.restore(stream.cid, stream.id, 1, 'first', 'Hel, old')).toBe('taken')
  expect(await store.read(stream.id)).toBe('Hello')
  expect(await stream.told()).toEqual(['0 Hel', '3 lo'])
})

test('what Redis lost is written again by its owner, unless somebody has claimed it since', async () => {
  const stream = await begin()
  await stream.claim('mine')
  await redis.del(streamTextKey(stream.id))
  expect(await stream.append('mine', 3, 'lo')).toBe('lost')
  expect(await store.touch(stream.id, 'mine')).toBe('lost')
  expect(await store.read(stream.id)).toBeNull()
  expect(await store.restore(stream.cid, stream.id, 1, 'mine', 'Hel')).toBe('owned')
  expect(await stream.append('mine', 3, 'lo')).toBe('owned')
  expect(await store.read(stream.id)).toBe('Hello')
  await redis.del(streamTextKey(stream.id))
  await stream.claim('theirs')
  expect(await store.restore(stream.cid, stream.id, 1, 'mine', 'Hello')).toBe('taken')
})

test('a stream is listed in its room until it has ended, and then nobody owns it', async () => {
  const stream = await begin()
  await stream.claim('mine')
  expect(await store.list(stream.cid)).toEqual([{ messageId: stream.id, seq: 1 }])
  await store.close(stream.cid, stream.id)
  expect(await store.list(stream.cid)).toEqual([])
  expect(await store.read(stream.id)).toBeNull()
  expect(await stream.append('mine', 0, 'late')).toBe('ended')
  expect(await store.hold(stream.id)).toBeNull()
  expect(await redis.pttl(streamTextKey(stream.id))).toBeGreaterThan(0)
})

test('a stream ends although Redis is full', async () => {
  const folder = await throwAwayFolder()
  const { url, process } = await startRedis({ dataDir: folder.path, log: () => undefined })
  const own = new Redis(url)
  try {
    const full = createStreamStore({ redis: own, logger })
    await full.claim('room', 'answer', 1, 'mine')
    await own.config('SET', 'maxmemory', '1')
    await expect(own.set('anything', 1)).rejects.toThrow('OOM')
    await full.close('room', 'answer')
    await own.config('SET', 'maxmemory', '0')
    expect(await full.touch('answer', 'mine')).toBe('ended')
  } finally {
    await own.quit()
    await process.destroy()
    await folder.remove()
  }
})

test('what is held gets nothing more, not even from who owns it by then, until it is released', async () => {
  const stream = await begin()
  expect(await store.hold(stream.id)).toBeNull()
  await stream.claim('mine')
  await stream.append('mine', 0, 'Hello')
  expect(await store.hold(stream.id)).toBe('Hello')
  expect(await stream.append('mine', 5, ', you')).toBe('held')
  expect(await store.restore(stream.cid, stream.id, 1, 'mine', 'Hello, you')).toBe('held')
  expect(await store.touch(stream.id, 'mine')).toBe('owned')
  expect(await stream.claim('next')).toBe('Hello')
  expect(await stream.append('next', 5, ', you')).toBe('held')
  await store.release(stream.id)
  expect(await stream.append('next', 5, ', you')).toBe('owned')
  expect(await store.read(stream.id)).toBe('Hello, you')
  // Of a holder that died.
  await redis.hset(streamTextKey(stream.id), 'held', Date.now() - 1)
  expect(await stream.append('next', 10, '!')).toBe('owned')
})

test('whoever claims and writes in whatever order, the text is what those who owned it at the time wrote', async () => {
  const step = fc.oneof(
    { weight: 1, arbitrary: fc.record({ what: fc.constant('claim' as const), by: fc.nat(2) }) },
    { weight: 3, arbitrary: fc.record({ what: fc.constant('append' as const), by: fc.nat(2) }) },
    { weight: 1, arbitrary: fc.record({ what: fc.constant('wipe' as const), by: fc.nat(2) }) },
  )
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
      const stream = await begin()
      /** The text that each gateway has; each writes a letter of its own. */
      const texts = ['', '', '']
      let owner: number | null = null
      let model = ''
      let isThere = false
      for (const { what, by } of steps) {
        const token = `gateway-${by}`
        if (what === 'claim') {
          texts[by] = await stream.claim(token)
          expect(texts[by]).toBe(model)
          owner = by
          isThere = true
        } else if (what === 'wipe') {
          await redis.del(streamTextKey(stream.id))
          isThere = false
          model = ''
        } else {
          const text = texts[by] ?? ''
          const letter = 'abc'[by] ?? ''
          const owned = await stream.append(token, text.length, letter)
          expect(owned).toBe(!isThere ? 'lost' : owner === by ? 'owned' : 'taken')
          if (owned === 'taken') continue
          texts[by] = text + letter
          if (owned === 'lost') {
            expect(await store.restore(stream.cid, stream.id, 1, token, texts[by])).toBe('owned')
            isThere = true
            owner = by
          }
          model = texts[by]
        }
        expect((await store.read(stream.id)) ?? '').toBe(model)
      }
    }),
    { numRuns: 40 },
  )
})
