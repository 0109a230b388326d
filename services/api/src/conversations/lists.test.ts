import { createHash } from 'node:crypto'
import { type Conversation, LIMITS, type Page } from '@parley/contract'
import { encodeCursor } from '@parley/service-kit'
import { type CommandStartedEvent, MongoClient, ObjectId } from 'mongodb'
import { afterAll, beforeAll, describe, expect, inject, test, vi } from 'vitest'
import { collections } from '../database/collections.ts'
import { createMessageStore } from '../messages/store.ts'
import { createConversationLists } from './lists.ts'
import { createConversationReader } from './reader.ts'
import {
  ada,
  admin,
  bob,
  bot,
  caller,
  codeOf,
  id,
  open,
  openConversationWorld,
  type Service,
  say,
} from './testing/world.ts'

let world: Awaited<ReturnType<typeof openConversationWorld>>
let service: Service
const ids: string[] = []
beforeAll(async () => {
  world = await openConversationWorld(inject('mongodbUri'))
  service = world.service()
  for (let i = 0; i < 25; i++) {
    const cid = await open(service, i % 5 ? ada : bob, {
      title: `number ${i}`,
      ...(i % 3 === 0 && { agentId: 'bot' }),
      ...(i % 4 === 0 && { tags: ['four', 'even'] }),
      ...(i % 5 === 0 && { participants: [{ type: 'user', id: 'ada' }] }),
      externalId: `ext-${i}`,
    })
    ids.push(cid)
    if (i % 2 === 0) await say(service, ada, cid, `hello ${i}`)
    if (i % 7 === 0) await service.conversations.setStatus(admin, cid, 'archived')
  }
  await open(service, caller('eve'), { title: 'not hers' })
  await open(service, caller('ada', { orgId: 'other' }), { title: 'another org' })
})
afterAll(() => world.close())

type Fetch = (request: { limit?: number; cursor?: string }) => Promise<Page<Conversation>>

async function walk(fetch: Fetch, limit: number): Promise<Conversation[]> {
  const found: Conversation[] = []
  let cursor: string | null = null
  do {
    const page: Page<Conversation> = await fetch({ limit, ...(cursor !== null && { cursor }) })
    expect(page.data.length).toBeLessThanOrEqual(limit)
    expect(page.page.hasMore).toBe(page.page.nextCursor !== null)
    found.push(...page.data)
    cursor = page.page.nextCursor
  } while (cursor !== null)
  return found
}

const titles = (found: Conversation[]) => found.map(({ title }) => title).sort()
const wanted = (choose: (i: number) => boolean) =>
  ids.flatMap((_, i) => (choose(i) ? [`number ${i}`] : [])).sort()

describe('lists', () => {
  test('hold the caller’s conversations, each once, whatever the page size', async () => {
    for (const limit of [1, 7, 25, 100]) {
      expect(titles(await walk((request) => service.lists.mine(ada, request), limit))).toEqual(
        wanted(() => true),
      )
      expect(titles(await walk((request) => service.lists.list(bob, request), limit))).toEqual(
        wanted((i) => i % 5 === 0),
      )
    }
  })

  test('show each conversation as a single read does', async () => {
    for (const conversation of await walk((request) => service.lists.list(ada, request), 10)) {
      expect(conversation).toEqual(await service.conversations.get(ada, conversation.id))
    }
    for (const conversation of await walk((request) => service.lists.list(admin, request), 10)) {
      expect(conversation).toEqual(await service.conversations.get(admin, conversation.id))
    }
  })

  test('admins see all of the org, with `me` null where they take no part', async () => {
    const all = await walk((request) => service.lists.list(admin, request), 6)
    expect(titles(all)).toEqual([...wanted(() => true), 'not hers'].sort())
    expect(all.every(({ me }) => me === null)).toBe(true)
  })

  test('filters choose by status, tag, agent and external id', async () => {
    for (const who of [ada, admin]) {
      const titled = async (filter: object) =>
        titles(await walk((request) => service.lists.list(who, { ...filter, ...request }), 3))
      expect(await titled({ status: 'archived' })).toEqual(wanted((i) => i % 7 === 0))
      expect(await titled({ tag: 'four' })).toEqual(wanted((i) => i % 4 === 0))
      expect(await titled({ agentId: 'bot' })).toEqual(wanted((i) => i % 3 === 0))
      expect(await titled({ agentId: 'bot', status: 'active', tag: 'even' })).toEqual(
        wanted((i) => i % 3 === 0 && i % 4 === 0 && i % 7 !== 0),
      )
      expect(await titled({ externalId: 'ext-4' })).toEqual(['number 4'])
    }
    expect((await service.lists.list(bob, { externalId: 'ext-4' })).data).toEqual([])
  })

  test('active ones are found without a look at those that are not, by whoever was added and whenever', async () => {
    const { db } = world.database
    const [boss, late] = [caller('boss'), caller('late')]
    const own: string[] = []
    for (let count = 0; count < 12; count++) own.push(await open(service, boss))
    const [first = '', second = ''] = own
    const { setStatus } = service.conversations
    const add = (cid: string) => service.participants.add(boss, cid, { type: 'user', id: 'late' })
    for (const cid of own) await setStatus(boss, cid, 'closed')
    for (const cid of own) await add(cid)
    await setStatus(boss, first, 'active')
    await setStatus(boss, second, 'archived')
    await Promise.all([add(second), setStatus(boss, second, 'active')])
    // Rows are marked once the answer is out.
    await service.changes.idle()
    for (const who of [boss, late]) {
      await db.command({ profile: 2, slowms: 0 })
      const { data } = await service.lists.list(who, { status: 'active' })
      await db.command({ profile: 0 })
      expect(data.map(({ id }) => id).sort()).toEqual([first, second].sort())
      const looked = await db
        .collection<{ docsExamined: number }>('system.profile')
        .find({ ns: /participants$/, 'command.aggregate': 'participants' })
        .toArray()
      // A row and a head each, and one more of neither.
      expect(Math.max(...looked.map(({ docsExamined }) => docsExamined))).toBeLessThanOrEqual(5)
      await db.collection('system.profile').drop()
    }
    const all = await service.lists.list(boss, {})
    expect(all.data).toHaveLength(own.length)
  })

  test('active ones are found, and no others, whatever order their changes came in', async () => {
    const other = world.service()
    const [boss, late] = [caller('hasty', { orgId: 'third' }), caller('tardy', { orgId: 'third' })]
    const own: string[] = []
    // Few: five changes at once collide in each, and none of them waits for its turn for more than 10 s.
    for (let count = 0; count < 5; count++) own.push(await open(service, boss))
    const add = { type: 'user', id: 'tardy' } as const
    for (let round = 0; round < 4; round++) {
      await Promise.all(
        own.flatMap((cid) => [
          service.conversations.setStatus(boss, cid, 'closed'),
          other.conversations.setStatus(boss, cid, 'active'),
          service.participants.add(boss, cid, add),
          other.conversations.setStatus(boss, cid, 'archived'),
          service.conversations.setStatus(boss, cid, 'active'),
        ]),
      )
      const states = await Promise.all(own.map((cid) => service.conversations.get(boss, cid)))
      const active = states.filter(({ status }) => status === 'active').map(({ id }) => id)
      for (const who of [boss, late]) {
        const { data } = await service.lists.list(who, { status: 'active' })
        expect(data.map(({ id }) => id).sort()).toEqual(active.sort())
      }
    }
  })

  test('an active one is not hidden by who was late to mark it as closed', async () => {
    const { participants } = world.database
    const cid = await open(service, ada)
    const marking = Promise.withResolvers<void>()
    const late = Promise.withResolvers<void>()
    const updateMany = participants.updateMany.bind(participants)
    const marks = vi.spyOn(participants, 'updateMany').mockImplementation(async (rows = {}, ...more) => {
      // Others may be marked still that the tests before this one closed.
      if (id(cid).equals(rows.cid as ObjectId)) {
        marks.mockRestore()
        marking.resolve()
        await late.promise
      }
      return updateMany(rows, ...more)
    })
    await service.conversations.setStatus(ada, cid, 'closed')
    await marking.promise
    const other = world.service()
    await other.conversations.setStatus(ada, cid, 'active')
    await other.participants.add(ada, cid, { type: 'user', id: 'newcomer' })
    late.resolve()
    await service.changes.idle()
    for (const who of [ada, caller('newcomer')]) {
      const { data } = await service.lists.list(who, { status: 'active' })
      expect(data.map(({ id }) => id)).toContain(cid)
    }
  })

  test('a reopened one is marked as active before that is answered: until then no list of active ones has it', async () => {
    const { participants } = world.database
    const cid = await open(service, ada)
    await service.conversations.setStatus(ada, cid, 'closed')
    await service.changes.idle()
    const order: string[] = []
    const updateMany = participants.updateMany.bind(participants)
    const marks = vi.spyOn(participants, 'updateMany').mockImplementation(async (rows = {}, ...more) => {
      const done = await updateMany(rows, ...more)
      if (id(cid).equals(rows.cid as ObjectId)) order.push('marked')
      return done
    })
    await service.conversations.setStatus(ada, cid, 'active')
    order.push('answered')
    await service.changes.idle()
    marks.mockRestore()
    expect(order).toEqual(['marked', 'answered'])
  })

  test('a conversation is closed beside those who read in it: no change of theirs collides with that', async () => {
    const cid = await open(service, ada, { participants: [{ type: 'user', id: 'bob' }] })
    const inTransaction: unknown[] = []
    const note = ({ commandName, command }: CommandStartedEvent) => {
      if (commandName === 'update' && command.update === 'participants' && 'autocommit' in command) {
        inTransaction.push(command)
      }
    }
    world.database.client.on('commandStarted', note)
    for (const status of ['closed', 'active', 'archived'] as const) {
      await service.conversations.setStatus(ada, cid, status)
    }
    world.database.client.off('commandStarted', note)
    expect(inTransaction).toEqual([])
    const rows = () => world.database.participants.find({ cid: new ObjectId(cid), inactive: true }).toArray()
    await vi.waitFor(async () => expect(await rows()).toHaveLength(2))
  })

  test('a forged cursor tells bob nothing about a conversation that he takes no part in', async () => {
    const binding = ['acme', 'user:bob', false, null, null, null, 'ext-4']
    const name = createHash('sha256').update(JSON.stringify(binding)).digest('base64url').slice(0, 16)
    for (const position of [
      ['next', 8e15, 'f'.repeat(24)],
      ['prev', 0, '0'.repeat(24)],
    ]) {
      const cursor = encodeCursor(['conversations', name], position)
      const answer = await service.lists.list(bob, { externalId: 'ext-4', cursor })
      expect(answer).toEqual({ data: [], page: { nextCursor: null, prevCursor: null, hasMore: false } })
    }
  })

  test("an agent's conversations are those in which the caller takes part", async () => {
    const of = async (who: typeof ada) =>
      titles(await walk((request) => service.lists.ofAgent(who, 'bot', request), 4))
    expect(await of(bot)).toEqual(wanted((i) => i % 3 === 0))
    expect(await of(admin)).toEqual(wanted((i) => i % 3 === 0))
    expect(await of(bob)).toEqual(wanted((i) => i % 15 === 0))
  })

  test('lead back to where they started', async () => {
    for (const fetch of [
      (request: object) => service.lists.mine(ada, request),
      (request: object) => service.lists.list(admin, request),
    ]) {
      const first = await fetch({ limit: 8 })
      expect(first.page.prevCursor).toBeNull()
      const second = await fetch({ limit: 8, cursor: first.page.nextCursor })
      const back = await fetch({ limit: 8, cursor: second.page.prevCursor })
      expect(back.data).toEqual(first.data)
      expect(back.page).toMatchObject({ hasMore: false, prevCursor: null })
    }
  })

  test('a cursor from another list, filter or caller is refused, and so is a broken one', async () => {
    const { page } = await service.lists.list(ada, { limit: 5 })
    const cursor = page.nextCursor ?? ''
    for (const attempt of [
      service.lists.mine(ada, { cursor }),
      service.lists.list(bob, { cursor }),
      service.lists.list(ada, { cursor, status: 'active' }),
      service.lists.list(ada, { cursor: cursor.slice(3) }),
      service.lists.list(ada, { cursor: 'e30' }),
      service.lists.list(ada, { cursor: '💥' }),
    ]) {
      expect(await codeOf(attempt)).toBe('invalid_cursor')
    }
  })

  test('the conversation with the latest message comes first', async () => {
    const cid = ids[3] ?? ''
    await say(service, ada, cid, 'news')
    const first = async (fetch: Fetch, limit: number) => (await fetch({ limit })).data[0]?.id
    const lists: Fetch[] = [
      (request) => service.lists.list(admin, request),
      (request) => service.lists.list(ada, request),
      (request) => service.lists.mine(ada, request),
    ]
    for (const fetch of lists) expect(await first(fetch, 50)).toBe(cid)
    const renamed = ids[6] ?? ''
    const rows = { cid: id(renamed) }
    await world.database.participants.updateMany(rows, { $set: { activityAt: new Date(0) } })
    await service.conversations.update(ada, renamed, { description: 'the sixth' })
    for (const fetch of lists) expect(await first(fetch, 50)).toBe(renamed)
    const moved = { ...rows, activityAt: { $gt: new Date(0) } }
    await vi.waitFor(async () =>
      expect(await world.database.participants.countDocuments(moved)).toBeGreaterThan(0),
    )
    await say(service, ada, cid, 'more news')
    await service.headUpdater.flush()
    expect((await service.lists.list(admin, { limit: 1 })).data[0]?.id).toBe(cid)
    expect((await service.lists.active(ada, 50))[0]?.id).toBe(cid)
    // Between pages to the minute, for participants.
    const later = new Date(Date.now() + 120_000)
    await world.database.participants.updateMany({ cid: id(cid) }, { $set: { activityAt: later } })
    expect((await service.lists.mine(ada, { limit: 1 })).data[0]?.id).toBe(cid)
  })

  test('cost three queries, also with a large conversation among them', async () => {
    await open(service, ada, {
      participants: Array.from({ length: LIMITS.participantsShown * 2 }, (_, i) => ({
        type: 'user' as const,
        id: `many-${i}`,
      })),
    })
    const commands: string[] = []
    const client = new MongoClient(inject('mongodbUri'), { monitorCommands: true })
    try {
      client.on('commandStarted', ({ commandName }) => commands.push(commandName))
      const db = client.db(world.database.db.databaseName)
      const rows = collections(db)
      const reader = createConversationReader({ rows, store: createMessageStore({ db, ...rows }) })
      const lists = createConversationLists({ rows, reader })
      for (const list of [
        () => lists.list(ada, { limit: 50 }),
        () => lists.list(ada, { limit: 50, status: 'active' }),
        () => lists.list(admin, { limit: 50 }),
      ]) {
        commands.length = 0
        const { data } = await list()
        expect(data.length).toBeGreaterThan(10)
        expect(commands.length, commands.join(' ')).toBeLessThanOrEqual(3)
      }
    } finally {
      await client.close()
    }
  })
})
