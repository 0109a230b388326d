import { MongoClient, ObjectId } from 'mongodb'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { collections } from '../database/collections.ts'
import { createRoles } from '../participants/roles.ts'
import { createParticipantCache } from './participant-cache.ts'

const client = new MongoClient(inject('mongodbUri'))
const { participants } = collections(client.db(`participant-cache-${new ObjectId().toHexString()}`))

beforeAll(() => client.connect())
afterAll(async () => {
  await client.db(participants.dbName).dropDatabase()
  await client.close()
})

test('the participants of each conversation in a batch are known, however many others came since', async () => {
  const cache = createParticipantCache({ participants, roles: createRoles({ participants }) })
  const quiet = () => ({ cid: new ObjectId(), membersRev: new ObjectId(), participantCount: 1, authors: [] })
  const first = quiet()
  const at = new Date()
  await participants.insertOne({
    _id: new ObjectId(),
    cid: first.cid,
    org: 'acme',
    key: 'user:ada',
    role: 'owner',
    joinedAt: at,
    readSeq: 0,
    activityAt: at,
  })
  await cache.load([first, ...Array.from({ length: 19_999 }, quiet)])
  await cache.load([first, quiet()])
  expect(cache.recipients(first.membersRev)).toEqual(['user:ada'])
})
