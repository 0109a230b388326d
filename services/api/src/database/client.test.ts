import { startMongodb, throwAwayFolder } from '@parley/devstack'
import type { CommandStartedEvent, CommandSucceededEvent } from 'mongodb'
import { ObjectId } from 'mongodb'
import { expect, inject, test } from 'vitest'
import { connectDatabase } from './client.ts'

test.for(['readConcernLevel=local', 'journal=false'])('an address with %s is refused', async (option) => {
  const uri = `${inject('mongodbUri')}&${option}`
  await expect(connectDatabase(uri)).rejects.toThrow('MONGODB_URI must not set readConcernLevel or journal')
})

test('no read goes to a new primary before a write of its term is on a majority, not even one that waited for it', async () => {
  const folder = await throwAwayFolder()
  const { uri, processes } = await startMongodb({ dataDir: folder.path })
  const database = await connectDatabase(uri, { monitorCommands: true })
  try {
    const { client, messages } = database
    const begun = new Map<number, number>()
    const reads: number[] = []
    let confirmed = Number.POSITIVE_INFINITY
    let clock = 0
    client.on('commandStarted', ({ requestId }: CommandStartedEvent) => begun.set(requestId, clock++))
    client.on('commandSucceeded', ({ commandName, requestId }: CommandSucceededEvent) => {
      if (commandName === 'find') reads.push(begun.get(requestId) ?? -1)
      if (commandName === 'update') confirmed = Math.min(confirmed, clock++)
    })
    const admin = client.db('admin')
    await admin.command({ replSetStepDown: 1, secondaryCatchUpPeriodSecs: 0, force: true })
    reads.splice(0)
    confirmed = Number.POSITIVE_INFINITY
    const asked = Array.from({ length: 20 }, async (_, index) => {
      await new Promise((resolve) => setTimeout(resolve, index * 20))
      await messages.findOne({ _id: new ObjectId() })
    })
    await Promise.all(asked)
    expect(reads).toHaveLength(20)
    expect(Math.min(...reads)).toBeGreaterThan(confirmed)
  } finally {
    await database.close()
    await Promise.all(processes.map((process) => process.destroy()))
    await folder.remove()
  }
})
