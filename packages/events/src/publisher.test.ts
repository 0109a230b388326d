import { eventsKey, type PublishedEvent, partitionOf } from '@parley/contract'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, expect, inject, test, vi } from 'vitest'
import { createPublisher } from './publisher.ts'

const logger = { debug: () => undefined, warn: () => undefined }
/** A database of its own, since streams are trimmed here. */
const DATABASE = 13
const redis = new Redis(`${inject('redisUrl')}/${DATABASE}`)
beforeAll(() => redis.flushdb())
afterAll(async () => {
  await redis.flushdb()
  await redis.quit()
})

const event = (cid = 'one'): PublishedEvent => ({ type: 'message.void', org: 'acme', cid, seq: 1 })

test('a stream is trimmed by the clock of the Redis that it is written to, not of the one before', async () => {
  const { publish } = createPublisher({ redis, logger })
  const watching = await redis.duplicate().monitor()
  const trims: boolean[] = []
  // What others write meanwhile, in databases of their own, is shown here too.
  watching.on('monitor', (_time, args: string[], _source, database) => {
    if (database === String(DATABASE) && args[0] === 'xadd') trims.push(args.includes('MINID'))
  })
  for (let n = 0; n < 2; n++) await publish([event()])
  const back = new Promise((resolve) => redis.once('ready', resolve))
  redis.disconnect(true)
  await back
  await publish([event()])
  await vi.waitFor(() => expect(trims).toEqual([false, true, false]))
  watching.disconnect()
})

test('a burst does not fill the memory, whatever its age', async () => {
  const { publish } = createPublisher({ redis, logger, keepEntries: 100 })
  for (let n = 0; n < 20; n++) await publish(Array.from({ length: 50 }, () => event('burst')))
  // Redis cuts off whole blocks of a hundred.
  expect(await redis.xlen(eventsKey(partitionOf('burst')))).toBeLessThanOrEqual(250)
})
