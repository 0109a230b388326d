import { Redis } from 'ioredis'
import { MongoClient } from 'mongodb'
import { expect, inject, test } from 'vitest'
import { throwAwayFolder } from '../folders.ts'
import { startMongodb } from './index.ts'

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

test('a data folder works on another port than the one it was made on', async () => {
  const folder = await throwAwayFolder()
  const first = await startMongodb({ dataDir: folder.path })
  await write(first.uri, { seq: 1 })
  await Promise.all(first.processes.map((process) => process.stop(5_000)))
  const second = await startMongodb({ dataDir: folder.path })
  try {
    expect(second.ports).not.toEqual(first.ports)
    await write(second.uri, { seq: 2 })
    expect(await count(second.uri)).toBe(2)
  } finally {
    await Promise.all(second.processes.map((process) => process.destroy()))
    await folder.remove()
  }
})

test('a set of three stays writable when its primary is killed', { timeout: 60_000 }, async () => {
  const folder = await throwAwayFolder()
  const set = await startMongodb({ dataDir: folder.path, members: 3 })
  try {
    await write(set.uri, { seq: 1 })
    await set.processes[0]?.kill()
    await write(set.uri, { seq: 2 })
    await set.processes[0]?.start()
    expect(await count(set.uri)).toBe(2)
  } finally {
    await Promise.all(set.processes.map((process) => process.destroy()))
    await folder.remove()
  }
})

async function write(uri: string, row: { seq: number }): Promise<void> {
  await use(uri, (client) =>
    client
      .db()
      .collection('rows')
      .insertOne(row, { writeConcern: { w: 'majority' } }),
  )
}

async function count(uri: string): Promise<number> {
  return use(uri, (client) => client.db().collection('rows').countDocuments())
}

async function use<T>(uri: string, work: (client: MongoClient) => Promise<T>): Promise<T> {
  const client = new MongoClient(uri)
  try {
    return await work(client)
  } finally {
    await client.close()
  }
}
