import { MongoClient, ObjectId } from 'mongodb'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { ada, openConversationWorld, stranger } from '../conversations/testing/world.ts'
import { collections } from '../database/collections.ts'
import { createHeads } from './heads.ts'

const client = new MongoClient(inject('mongodbUri'), { monitorCommands: true })
let world: Awaited<ReturnType<typeof openConversationWorld>>
beforeAll(async () => {
  world = await openConversationWorld(inject('mongodbUri'))
  await client.connect()
})
afterAll(async () => {
  await client.close()
  await world.close()
})

test('heads asked for at the same moment share a query per org, and nobody gets another org’s', async () => {
  const service = world.service()
  const [here, gone] = await Promise.all(
    [1, 2].map(async () => new ObjectId((await service.conversations.create(ada, {})).conversation.id)),
  )
  const there = new ObjectId((await service.conversations.create(stranger, {})).conversation.id)
  if (!here || !gone) throw new Error('not made')
  await service.conversations.remove(ada, gone.toHexString())
  const headOf = createHeads(collections(client.db(world.database.db.databaseName)))
  const commands: string[] = []
  client.on('commandStarted', ({ commandName }) => commands.push(commandName))
  const asked = [
    [ada.orgId, here],
    [stranger.orgId, here],
    [ada.orgId, here],
    [ada.orgId, there],
    [stranger.orgId, there],
    [ada.orgId, gone],
    [ada.orgId, new ObjectId()],
  ] as const
  const heads = await Promise.all(asked.map(([org, cid]) => headOf(org, cid)))
  const none = undefined
  expect(heads.map((head) => head?._id)).toEqual([here, none, here, none, there, none, none])
  expect(heads.map((head) => head?.org)).toEqual(['acme', none, 'acme', none, 'other', none, none])
  expect(commands).toEqual(['find', 'find'])
})
