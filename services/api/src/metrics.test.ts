import { createPublisher, PublishError } from '@parley/events'
import { createLogger, createRegistry } from '@parley/service-kit'
import { Redis } from 'ioredis'
import { MongoClient, ObjectId } from 'mongodb'
import { expect, inject, test } from 'vitest'
import { collections } from './database/collections.ts'
import { createApiMetrics } from './metrics.ts'

const logger = createLogger({ name: 'test', level: 'silent' })

test('events that failed to go out and changes that wait to are counted', async () => {
  const client = new MongoClient(inject('mongodbUri'))
  const rows = collections(client.db(`metrics-${new ObjectId().toHexString()}`))
  const registry = createRegistry('api')
  const { unpublished } = createApiMetrics(registry, rows)
  const redis = new Redis(inject('redisUrl'))
  const publisher = createPublisher({ redis, logger, onFailed: unpublished })
  try {
    const cid = new ObjectId()
    const type = 'conversation.deleted' as const
    const event = { type, org: 'acme', cid: cid.toHexString() }
    await publisher.publish([event])
    expect(await registry.metrics()).toMatch(/^api_publish_failures_total{.*} 0$/m)
    expect(await registry.metrics()).toMatch(/^api_outbox_rows{.*} 0$/m)
    redis.disconnect()
    await expect(publisher.publish([event, event])).rejects.toThrow(PublishError)
    await rows.outbox.insertOne({
      _id: new ObjectId(),
      cid,
      org: 'acme',
      change: 1,
      type,
      createdAt: new Date(),
    })
    expect(await registry.metrics()).toMatch(/^api_publish_failures_total{.*} 2$/m)
    expect(await registry.metrics()).toMatch(/^api_outbox_rows{.*} 1$/m)
  } finally {
    redis.disconnect()
    await client.db(rows.outbox.dbName).dropDatabase()
    await client.close()
  }
})

test('without MongoDB its figures are missing, and the others are there', async () => {
  const client = new MongoClient('mongodb://127.0.0.1:1', { serverSelectionTimeoutMS: 50 })
  const registry = createRegistry('api')
  createApiMetrics(registry, collections(client.db('nowhere')))
  const shown = await registry.metrics()
  expect(shown).not.toMatch(/^api_outbox_rows/m)
  expect(shown).toMatch(/^api_publish_failures_total{.*} 0$/m)
  await client.close()
})
