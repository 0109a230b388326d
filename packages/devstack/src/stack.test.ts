import { Redis } from 'ioredis'
import { MongoClient } from 'mongodb'
import { afterEach, expect, inject, test } from 'vitest'
import { type Stack, startStack } from './stack.ts'

let stack: Stack | undefined

afterEach(async () => {
  await stack?.close()
  stack = undefined
})

test('a store that was killed comes back on its port with its data', async () => {
  stack = await startStack({ services: false, ephemeral: false })
  const client = new MongoClient(stack.mongodbUri)
  const redis = new Redis(stack.redisUrl, { retryStrategy: () => 20 })
  const outages: unknown[] = []
  redis.on('error', (error) => outages.push(error))
  try {
    await client
      .db()
      .collection('rows')
      .insertOne({ seq: 7 }, { writeConcern: { w: 'majority', journal: true } })
    await redis.set('kept', 'yes')

    const before = stack.pids
    await Promise.all([stack.kill('mongod-0'), stack.kill('redis-0')])
    expect(stack.pids).toEqual({})
    await Promise.all([stack.start('mongod-0'), stack.start('redis-0')])

    expect(stack.pids['mongod-0']).not.toBe(before['mongod-0'])
    expect(
      await client
        .db()
        .collection('rows')
        .findOne({}, { projection: { _id: 0 } }),
    ).toEqual({ seq: 7 })
    expect(await redis.get('kept')).toBe('yes')
  } finally {
    redis.disconnect()
    await client.close()
  }
})

test('a supervised store comes back by itself', async () => {
  const log: string[] = []
  stack = await startStack({
    services: false,
    supervise: true,
    mongodbUri: inject('mongodbUri'),
    log: (line) => log.push(line),
  })
  const before = stack.pids['redis-0']
  await stack.kill('redis-0')
  await stack.waitReady('redis-0')
  expect(stack.pids['redis-0']).toBeGreaterThan(0)
  expect(stack.pids['redis-0']).not.toBe(before)
  expect(log.join('\n')).toMatch(/redis-0 was ended by SIGKILL/)
})

test('what was stopped stays away, supervised or not, until it is started', async () => {
  stack = await startStack({ services: false, supervise: true, mongodbUri: inject('mongodbUri') })
  await stack.stop('redis-0')
  await stack.waitReady()
  expect(stack.pids).toEqual({})
  await stack.start('redis-0')
  expect(Object.keys(stack.pids)).toEqual(['redis-0'])
})

test('a process that was paused can be stopped', async () => {
  stack = await startStack({ services: false, mongodbUri: inject('mongodbUri') })
  stack.pause('redis-0')
  expect(await stack.stop('redis-0')).toEqual({ code: 0, signal: null })
})
