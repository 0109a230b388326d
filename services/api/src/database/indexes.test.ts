import { MongoClient, ObjectId } from 'mongodb'
import { expect, inject, test } from 'vitest'
import { ensureIndexes } from './indexes.ts'

test('an index of a former version is dropped at boot; one made by an operator stays', async () => {
  const client = new MongoClient(inject('mongodbUri'))
  const db = client.db(`indexes-${new ObjectId().toHexString()}`)
  try {
    await db.collection('audit').createIndexes([
      { name: 'former.1', key: { createdAt: 1 } },
      { name: 'for-reports', key: { org: 1 } },
      // MongoDB's default name.
      { key: { actor: 1 } },
    ])
    await ensureIndexes(db)
    const names = (await db.collection('audit').indexes()).map(({ name }) => name)
    expect(names.toSorted()).toEqual(['_id_', 'actor_1', 'change.1', 'for-reports'])
  } finally {
    await db.dropDatabase()
    await client.close()
  }
})

test('processes that start together may drop the same index', async () => {
  const client = new MongoClient(inject('mongodbUri'))
  const db = client.db(`indexes-${new ObjectId().toHexString()}`)
  try {
    await ensureIndexes(db)
    for (let times = 0; times < 5; times++) {
      await db.collection('audit').createIndexes([{ name: 'former.1', key: { createdAt: 1 } }])
      await Promise.all([1, 2, 3].map(() => ensureIndexes(db)))
    }
  } finally {
    await db.dropDatabase()
    await client.close()
  }
})
