import { MongoClient } from 'mongodb'
import { expect, test, vi } from 'vitest'
import { createProxy } from '../proxy.ts'
import { startStack } from '../stack.ts'

test('a transaction whose client is gone holds others up for less than the 10 s that they try', async () => {
  const stack = await startStack({ services: false })
  const proxy = await createProxy(Number(new URL(stack.mongodbUri).port))
  const gone = new MongoClient(`mongodb://127.0.0.1:${proxy.port}/?directConnection=true`, {
    serverSelectionTimeoutMS: 1_000,
  })
  const client = new MongoClient(stack.mongodbUri)
  try {
    const { databaseName } = client.db()
    const rows = client.db().collection<{ _id: string; by?: string }>('rows')
    await rows.insertOne({ _id: 'row' })
    const session = gone.startSession()
    session.startTransaction()
    const theirs = gone.db(databaseName).collection<{ _id: string; by?: string }>('rows')
    await theirs.updateOne({ _id: 'row' }, { $set: { by: 'gone' } }, { session })
    proxy.cut()

    const change = () =>
      client.withSession(async (own) => {
        own.startTransaction()
        await rows.updateOne({ _id: 'row' }, { $set: { by: 'alive' } }, { session: own })
        await own.commitTransaction()
      })
    await expect(change()).rejects.toThrow('WriteConflict')
    await vi.waitFor(change, { interval: 50 })
    expect(await rows.findOne({ _id: 'row' })).toEqual({ _id: 'row', by: 'alive' })
  } finally {
    await Promise.all([gone.close(), client.close()])
    await proxy.close()
    await stack.close()
  }
})
