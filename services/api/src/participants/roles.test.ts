import { MongoClient, ObjectId } from 'mongodb'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { collections } from '../database/collections.ts'
import { createRoles } from './roles.ts'

const client = new MongoClient(inject('mongodbUri'))
const { participants } = collections(client.db(`roles-${new ObjectId().toHexString()}`))

beforeAll(() => client.connect())
afterAll(async () => {
  await client.db(participants.dbName).dropDatabase()
  await client.close()
})

const row = (cid: ObjectId, key: string, role: 'owner' | 'member') => ({
  _id: new ObjectId(),
  cid,
  org: 'acme',
  key,
  role,
  joinedAt: new Date(),
  readSeq: 0,
  activityAt: new Date(),
})

describe('roles', () => {
  test('the role of a participant is known once it was loaded, and nothing of anybody else', async () => {
    const roles = createRoles({ participants })
    const [cid, other] = [new ObjectId(), new ObjectId()]
    await participants.insertMany([row(cid, 'user:ada', 'owner'), row(other, 'agent:bot', 'member')])
    const membersRev = new ObjectId()
    const otherRev = new ObjectId()

    expect(roles.known(membersRev, 'user:ada')).toBeUndefined()
    await roles.load([
      { cid, membersRev, key: 'user:ada' },
      { cid, membersRev, key: 'agent:bot' },
      { cid: other, membersRev: otherRev, key: 'agent:bot' },
    ])

    expect(roles.known(membersRev, 'user:ada')).toBe('owner')
    expect(roles.known(membersRev, 'agent:bot')).toBeUndefined()
    expect(roles.known(otherRev, 'agent:bot')).toBe('member')
    expect(roles.known(otherRev, 'user:ada')).toBeUndefined()
  })

  test('a new revision knows nothing of the old one', async () => {
    const roles = createRoles({ participants })
    const cid = new ObjectId()
    const membersRev = new ObjectId()
    await participants.insertOne(row(cid, 'user:ada', 'owner'))
    await roles.load([{ cid, membersRev, key: 'user:ada' }])
    expect(roles.known(new ObjectId(), 'user:ada')).toBeUndefined()
  })

  test('forgets the least recently used', () => {
    const roles = createRoles({ participants, capacity: 2 })
    const membersRev = new ObjectId()
    roles.keep(membersRev, 'user:a', 'owner')
    roles.keep(membersRev, 'user:b', 'member')
    roles.known(membersRev, 'user:a')
    roles.keep(membersRev, 'user:c', 'observer')
    expect(roles.known(membersRev, 'user:a')).toBe('owner')
    expect(roles.known(membersRev, 'user:b')).toBeUndefined()
    expect(roles.known(membersRev, 'user:c')).toBe('observer')
  })
})
