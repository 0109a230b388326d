import { ObjectId } from 'mongodb'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { createConversationReader } from '../conversations/reader.ts'
import { createMessagePages } from '../messages/pages.ts'
import { createMessageStore } from '../messages/store.ts'
import { createGatewayReads } from './gateway-reads.ts'
import { ada, bob, callerOf, openServices } from './testing/world.ts'

let world: Awaited<ReturnType<typeof openServices>>
beforeAll(async () => {
  world = await openServices(inject('mongodbUri'), inject('redisUrl'))
})
afterAll(() => world.close())

test('additions since then are reported: of the own org only, and to conversations that still exist', async () => {
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
    const { added: found } = await world.services.gatewayReads.added({ people, since: Date.now() - 30_000 })
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

test('somebody removed while the answer is put together is told nothing', async () => {
  const { conversations, participants, messages, history } = world.services
  const { database } = world
  const who = callerOf('soon-gone')
  const make = async () => (await conversations.create(ada, {})).conversation.id
  const [left, kept] = [await make(), await make()]
  for (const id of [left, kept]) await participants.add(ada, id, { type: 'user', id: who.id })
  const store = createMessageStore(database)
  const reader = createConversationReader({ rows: database, store })
  const gatewayReads = createGatewayReads({
    ...{ database, store, history, pages: createMessagePages({ ...database, store }) },
    reader: {
      async roomViews(ids) {
        await participants.remove(ada, left, who)
        const message = { conversationId: left, role: 'user' as const, content: 'now that they are gone' }
        await messages.create(ada, message, undefined)
        return reader.roomViews(ids)
      },
    },
  })
  const { added } = await gatewayReads.added({ people: [who], since: Date.now() - 30_000 })
  expect(added.map(({ conversation }) => conversation.id)).toEqual([kept])
})

test('however many were added since then, all are reported, 500 at a time', async () => {
  const { conversations, gatewayReads } = world.services
  const people = Array.from({ length: 600 }, (_, n) => callerOf(`one-of-many-${n}`))
  const ids = await Promise.all([ada, bob].map((caller) => conversations.create(caller, {})))
  const now = new Date()
  await world.database.participants.insertMany(
    ids.flatMap(({ conversation }) =>
      people.map(({ id, orgId }) => ({
        _id: new ObjectId(),
        cid: new ObjectId(conversation.id),
        org: orgId,
        key: `user:${id}`,
        role: 'member' as const,
        joinedAt: now,
        readSeq: 0,
        activityAt: now,
      })),
    ),
  )
  const sizes: number[] = []
  const told = new Set<string>()
  let after: string | undefined
  do {
    const page = await gatewayReads.added({ people, since: now.getTime() - 1_000, after })
    const pairs = page.added.flatMap(({ conversation, participants }) =>
      participants.map(({ id }) => `${conversation.id} ${id}`),
    )
    sizes.push(pairs.length)
    for (const pair of pairs) told.add(pair)
    after = page.next
  } while (after !== undefined)
  expect([sizes, told.size]).toEqual([[500, 500, 200], 1_200])
})

test('somebody added to a thousand large conversations is told of all of them', async () => {
  const who = callerOf('well-known')
  const { id } = (await world.services.conversations.create(ada, {})).conversation
  const head = await world.database.conversations.findOne({ _id: new ObjectId(id) })
  if (!head) throw new Error('the conversation is not there')
  const now = new Date()
  const heads = Array.from({ length: 1_000 }, () => ({ ...head, _id: new ObjectId(), participantCount: 21 }))
  await world.database.conversations.insertMany(heads)
  await world.database.participants.insertMany(
    heads.map(({ _id: cid, org }) => ({
      ...{ _id: new ObjectId(), cid, org, key: 'user:well-known', role: 'member' as const },
      ...{ joinedAt: now, readSeq: 0, activityAt: now },
    })),
  )
  const told = new Set<string>()
  let after: string | undefined
  do {
    const page = await world.services.gatewayReads.added({
      people: [who],
      since: now.getTime() - 1_000,
      after,
    })
    for (const { conversation } of page.added) told.add(conversation.id)
    after = page.next
  } while (after !== undefined)
  expect(told.size).toBe(1_000)
})

test('reads since then are reported, of these conversations only; sending alone is not', async () => {
  const { conversations, messages, readPositions, gatewayReads } = world.services
  const make = async () =>
    (await conversations.create(ada, { participants: [{ type: 'user', id: 'bob' }] })).conversation.id
  const [asked, other] = [await make(), await make()]
  for (const conversationId of [asked, other]) {
    for (const content of ['one', 'two']) {
      await messages.create(ada, { conversationId, role: 'user', content }, undefined)
    }
    await conversations.markRead(bob, conversationId, 1)
  }
  await readPositions.idle()
  const since = async (before: number) =>
    (await gatewayReads.reads([asked], new Date(Date.now() - before))).map(({ participantId, readSeq }) => [
      participantId,
      readSeq,
    ])
  expect(await since(30_000)).toEqual([['bob', 1]])
  await world.database.participants.updateMany(
    { cid: new ObjectId(asked) },
    { $set: { readAt: new Date(Date.now() - 60_000) } },
  )
  expect(await since(30_000)).toEqual([])
  await conversations.markRead(bob, asked, 2)
  expect(await since(30_000)).toEqual([['bob', 2]])
})

test('a sender has read up to their message, also if only the repeat is answered', async () => {
  const { conversations, messages, readPositions } = world.services
  const conversationId = (await conversations.create(ada, {})).conversation.id
  const send = () => messages.create(ada, { conversationId, role: 'user', content: 'one' }, 'key')
  const unread = async () => {
    await readPositions.idle()
    return (await conversations.get(ada, conversationId)).me?.unread
  }
  await send()
  expect(await unread()).toBe(0)
  // As if the process that stored it had died before writing this.
  await world.database.participants.updateOne({ cid: new ObjectId(conversationId) }, { $set: { readSeq: 0 } })
  await send()
  expect(await unread()).toBe(0)
})
