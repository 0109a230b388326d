import { ObjectId } from 'mongodb'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { ada, bob, callerOf, openServices } from './testing/world.ts'

let world: Awaited<ReturnType<typeof openServices>>
beforeAll(async () => {
  world = await openServices(inject('mongodbUri'), inject('redisUrl'))
})
afterAll(() => world.close())

test('who was added since then is told, of their own org alone, and of what is still there', async () => {
  const { conversations, participants } = world.services
  const stranger = callerOf('ada', { orgId: 'elsewhere' })
  const make = async (caller = ada, others: string[] = []) =>
    (await conversations.create(caller, { participants: others.map((id) => ({ type: 'user', id })) }))
      .conversation.id
  const before = await make(ada, ['bob'])
  await world.database.participants.updateMany(
    { cid: new ObjectId(before) },
    { $set: { joinedAt: new Date(Date.now() - 60_000) } },
  )
  const [made, joined, gone] = [await make(ada, ['bob', 'eve']), await make(), await make(ada, ['bob'])]
  await participants.add(ada, joined, { type: 'user', id: 'bob' })
  await conversations.remove(ada, gone)
  const theirs = await make(stranger)

  const added = async (...people: { orgId: string; type: 'user' | 'agent'; id: string }[]) => {
    const found = await world.services.follow.added({ people, since: Date.now() - 30_000 })
    return Object.fromEntries(
      found.map(({ conversation, participants: who }) => [conversation.id, who.map(({ id }) => id).sort()]),
    )
  }
  expect(await added(ada, bob)).toEqual({ [made]: ['ada', 'bob'], [joined]: ['ada', 'bob'] })
  expect(await added(bob)).toEqual({ [made]: ['bob'], [joined]: ['bob'] })
  expect(await added(stranger)).toEqual({ [theirs]: ['ada'] })
  expect(await added(callerOf('bob', { orgId: 'elsewhere' }), callerOf('bob', { type: 'agent' }))).toEqual({})
  expect(await added()).toEqual({})
})
