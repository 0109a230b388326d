import type { PublishedEvent } from '@parley/contract'
import { createLogger } from '@parley/service-kit'
import { MongoClient, ObjectId } from 'mongodb'
import { afterAll, beforeAll, describe, expect, inject, test, vi } from 'vitest'
import { collections } from '../database/collections.ts'
import { createReadPositions } from './read-positions.ts'

const client = new MongoClient(inject('mongodbUri'))
const { participants } = collections(client.db(`reads-${new ObjectId().toHexString()}`))
const logger = createLogger({ name: 'test', level: 'silent' })

beforeAll(() => client.connect())
afterAll(async () => {
  await client.db(participants.dbName).dropDatabase()
  await client.close()
})

async function scene(keys: string[]) {
  const cid = new ObjectId()
  const at = new Date()
  const row = { cid, org: 'acme', role: 'member' as const, joinedAt: at, readSeq: 0, activityAt: at }
  const ids = new Map(keys.map((key) => [key, new ObjectId()]))
  await participants.insertMany(Array.from(ids, ([key, _id]) => ({ ...row, _id, key })))
  const events: PublishedEvent[] = []
  const publisher = { publish: async (batch: PublishedEvent[]) => void events.push(...batch) }
  const write = vi.spyOn(participants, 'bulkWrite')
  write.mockClear()
  return {
    cid,
    events,
    write,
    publisher,
    reads: createReadPositions({ participants, publisher, logger }),
    note: (key: string, seq: number) => ({ cid, org: 'acme', key, seq }),
    at: (key: string, seq: number) => ({ cid, org: 'acme', key, seq, row: ids.get(key) ?? new ObjectId() }),
    stored: async (key: string) => (await participants.findOne({ cid, key }))?.readSeq,
  }
}

describe('read positions', () => {
  test('are stored when acknowledged; those that come meanwhile are one write, and the furthest counts', async () => {
    const { reads, at, stored, write, events } = await scene(['user:ada', 'user:bob'])
    const all = Array.from({ length: 500 }, (_, i) => i + 1)
    await Promise.all(all.map((seq) => reads.mark(at(seq % 2 ? 'user:ada' : 'user:bob', seq))))
    expect([await stored('user:ada'), await stored('user:bob')]).toEqual([499, 500])
    expect(write).toHaveBeenCalledTimes(1)
    expect(events.map(({ data }) => JSON.parse(data ?? '').readSeq).sort()).toEqual([499, 500])
    await reads.mark(at('user:ada', 3))
    expect(await stored('user:ada')).toBe(499)
    expect(events).toHaveLength(2)
  })

  test('of senders are written in the background, without a receipt', async () => {
    const { reads, note, stored, write, events } = await scene(['user:ada'])
    for (const seq of [1, 2, 3]) reads.note(note('user:ada', seq))
    expect(write).not.toHaveBeenCalled()
    await expect.poll(() => stored('user:ada')).toBe(3)
    expect(write).toHaveBeenCalledTimes(1)
    expect(events).toEqual([])
    reads.note(note('user:ada', 4))
    await reads.idle()
    expect(await stored('user:ada')).toBe(4)
  })

  test('of senders are written later if that fails', async () => {
    const { reads, note, stored, write } = await scene(['user:ada'])
    write.mockRejectedValueOnce(new Error('no primary'))
    reads.note(note('user:ada', 1))
    await expect.poll(() => stored('user:ada')).toBe(1)
    write.mockRejectedValue(new Error('no primary'))
    reads.note(note('user:ada', 2))
    await reads.idle()
    write.mockRestore()
    await reads.idle()
    expect(await stored('user:ada')).toBe(2)
  })

  test('whose receipts cannot be published are told when that is possible again, the furthest of each', async () => {
    const { reads, at, events, publisher } = await scene(['user:ada', 'user:bob'])
    const told = () =>
      events.map(({ data }) => JSON.parse(data ?? '')).map(({ id, readSeq }) => [id, readSeq])
    const refused = vi.spyOn(publisher, 'publish').mockRejectedValue(new Error('no Redis'))
    for (const seq of [1, 2]) await reads.mark(at('user:ada', seq))
    reads.wake()
    await reads.idle()
    refused.mockRestore()
    expect(told()).toEqual([])
    reads.wake()
    await reads.idle()
    expect(told()).toEqual([['ada', 2]])
    await reads.mark(at('user:bob', 1))
    await reads.idle()
    expect(told()).toEqual([
      ['ada', 2],
      ['bob', 1],
    ])
  })

  test('whose receipts are refused by a Redis that stays connected are told a little later', async () => {
    const { reads, at, events, publisher } = await scene(['user:ada'])
    vi.spyOn(publisher, 'publish').mockRejectedValueOnce(new Error('OOM'))
    await reads.mark(at('user:ada', 1))
    await reads.idle()
    expect(events).toEqual([])
    await expect.poll(() => events).toHaveLength(1)
  })

  test('of senders are written later also if a mark shared the write that failed', async () => {
    const { reads, note, at, stored, write } = await scene(['user:ada'])
    write.mockRejectedValueOnce(new Error('no primary'))
    reads.note(note('user:ada', 10))
    await expect(reads.mark(at('user:ada', 9))).rejects.toThrow('no primary')
    await reads.idle()
    expect(await stored('user:ada')).toBe(10)
  })

  test('of somebody who left and came back are not moved by what they had read before', async () => {
    const { reads, at, stored } = await scene(['user:ada'])
    const before = { ...at('user:ada', 9), row: new ObjectId() }
    await reads.mark(before)
    expect(await stored('user:ada')).toBe(0)
    await Promise.all([reads.mark(before), reads.mark(at('user:ada', 2))])
    expect(await stored('user:ada')).toBe(2)
  })

  test('wait for no other conversation, though a process died there in the middle of a change', async () => {
    const [{ reads, at, note, stored }, other] = [
      await scene(['user:ada', 'user:eve']),
      await scene(['user:bob']),
    ]
    const session = client.startSession()
    session.startTransaction()
    const left = { $set: { role: 'observer' as const } }
    await participants.updateMany({ cid: note('', 0).cid }, left, { session })
    const held = reads.mark(at('user:ada', 1))
    reads.note(note('user:eve', 3))
    await reads.mark(other.at('user:bob', 2))
    expect(await other.stored('user:bob')).toBe(2)
    await expect(held).rejects.toThrow('time limit')
    // Its lock was held until now.
    await session.commitTransaction()
    await session.endSession()
    await reads.mark(at('user:ada', 1))
    await expect.poll(() => stored('user:eve'), { timeout: 10_000 }).toBe(3)
  })

  test('that cannot be written are not acknowledged', async () => {
    const { reads, at, write, stored } = await scene(['user:ada'])
    write.mockRejectedValueOnce(new Error('no primary'))
    await expect(reads.mark(at('user:ada', 1))).rejects.toThrow('no primary')
    await reads.mark(at('user:ada', 2))
    expect(await stored('user:ada')).toBe(2)
  })
})
