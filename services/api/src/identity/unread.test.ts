import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { ada, bob, id, open, openConversationWorld, say } from '../conversations/testing/world.ts'
import { createUnreadTotals } from './unread.ts'

let world: Awaited<ReturnType<typeof openConversationWorld>>
beforeAll(async () => {
  world = await openConversationWorld(inject('mongodbUri'))
})
afterAll(() => world.close())

test('messages counted in a head are not counted again before they are marked settled, and deleted ones never count', async () => {
  const { database } = world
  const service = world.service()
  const unreadTotals = createUnreadTotals(database)
  const cid = await open(service, ada, { participants: [{ type: 'user', id: 'bob' }] })
  await say(service, ada, cid, 'one')
  await service.headUpdater.flush()
  await database.messages.updateOne({ cid: id(cid), seq: 1 }, { $set: { unsettled: true } })
  await say(service, ada, cid, 'two')
  expect(await unreadTotals(bob)).toEqual({ conversations: 1, messages: 2 })
  await service.conversations.remove(ada, cid)
  expect(await unreadTotals(bob)).toEqual({ conversations: 0, messages: 0 })
})
