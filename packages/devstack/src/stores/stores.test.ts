import { Redis } from 'ioredis'
import { MongoClient } from 'mongodb'
import { expect, inject, test } from 'vitest'

test('the run has a MongoDB with transactions and a Redis server', async () => {
  const client = new MongoClient(inject('mongodbUri'))
  const redis = new Redis(inject('redisUrl'))
  try {
    const rows = client.db('devstack-shared').collection('rows')
    await client.withSession((session) =>
      session.withTransaction(() => rows.insertOne({ seq: 1 }, { session })),
    )
    expect(await rows.countDocuments()).toBe(1)
    expect(await redis.config('GET', 'maxmemory-policy')).toEqual(['maxmemory-policy', 'noeviction'])
  } finally {
    await client.close()
    redis.disconnect()
  }
})
