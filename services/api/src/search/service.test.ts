import { SearchQuery } from '@parley/contract'
import { afterAll, beforeAll, describe, expect, inject, test, vi } from 'vitest'
import {
  ada,
  codeOf,
  id,
  logger,
  open,
  openConversationWorld,
  type Service,
  say,
} from '../conversations/testing/world.ts'
import { draft } from '../messages/testing/world.ts'
import { createSearchIndexer } from './indexer.ts'
import { createSearch, type Search } from './service.ts'

let world: Awaited<ReturnType<typeof openConversationWorld>>
let service: Service
let search: Search
beforeAll(async () => {
  world = await openConversationWorld(inject('mongodbUri'))
  service = world.service()
  const { pages } = world.process()
  const { database } = world
  search = createSearch({
    ...database,
    pages,
    access: service.access,
    indexer: createSearchIndexer({ ...database, logger }),
  })
})
afterAll(() => world.close())

const numbers = (count: number) => Array.from({ length: count }, (_, i) => i + 1)

test('cursors lead through all hits, also of a long query', async () => {
  const cid = await open(service, ada)
  const q = '北京'.repeat(64)
  for (const i of numbers(3)) await say(service, ada, cid, `${q} ${i}`)
  const first = await search.find(ada, cid, { q, limit: 2 })
  const cursor = first.page.nextCursor ?? ''
  expect(SearchQuery.parse({ q, cursor })).toEqual({ q, cursor })
  expect((await search.find(ada, cid, { q, cursor })).data).toHaveLength(1)
  expect(await codeOf(search.find(ada, cid, { q: '北京', cursor }))).toBe('invalid_cursor')
})

test('an answer is found by its final text, even if searched for while it was being written', async () => {
  const cid = await open(service, ada)
  const answer = { ...draft('user:ada', 'Hel'), status: 'streaming' as const }
  await service.log.append({ org: 'acme', cid: id(cid), draft: answer, admin: false })
  await say(service, ada, cid, 'meanwhile')
  await service.headUpdater.flush()
  const find = async (q: string) => (await search.find(ada, cid, { q })).data.map(({ seq }) => seq)
  expect(await find('meanwhile')).toEqual([2])
  const end = { content: 'Hello, world', status: 'sent' as const }
  await world.database.messages.updateOne({ _id: answer._id }, { $set: end })
  expect(await find('world')).toEqual([1])
  expect(await find('meanwhile')).toEqual([2])
})

test('a word counts as the start of another only where none has it, whether indexed yet or not', async () => {
  const find = async (cid: string) =>
    (await search.find(ada, cid, { q: 'pay' })).data.map(({ content }) => content)
  for (const [indexed, fresh] of [
    ['pay now', 'payment'],
    ['payment', 'pay now'],
  ] as const) {
    const cid = await open(service, ada)
    await say(service, ada, cid, indexed)
    await service.headUpdater.flush()
    await say(service, ada, cid, fresh)
    expect(await find(cid)).toEqual(['pay now'])
    await service.headUpdater.flush()
    expect(await find(cid)).toEqual(['pay now'])
  }
})

test('what is deleted while it is ranked is not shown', async () => {
  const cid = await open(service, ada)
  const message = await say(service, ada, cid, 'parcel')
  const { messages } = world.database
  const find = messages.find.bind(messages)
  const spied = vi.spyOn(messages, 'find').mockImplementation((filter = {}, options = {}) => {
    const cursor = find(filter, options)
    if (options.projection) return cursor
    const toArray = cursor.toArray.bind(cursor)
    cursor.toArray = async () => {
      await service.deleteMessage(ada, message)
      return toArray()
    }
    return cursor
  })
  expect((await search.find(ada, cid, { q: 'parcel' })).data).toEqual([])
  spied.mockRestore()
})

describe('long messages', () => {
  /** The longest time, in milliseconds of this thread's processor time, for which nothing else had a turn. */
  async function longestWait(work: () => Promise<unknown>): Promise<number> {
    let longest = 0
    let last = threadMs()
    const look = () => {
      const now = threadMs()
      longest = Math.max(longest, now - last)
      last = now
      turn = setImmediate(look)
    }
    let turn = setImmediate(look)
    await work()
    clearImmediate(turn)
    return Math.max(longest, threadMs() - last)
  }
  /** Others on the machine don't count. */
  function threadMs(): number {
    const { user, system } = process.threadCpuUsage()
    return (user + system) / 1_000
  }

  test('that do not fit on one page come on several, whose cursors lead forward and back', async () => {
    const cid = await open(service, ada)
    const thinking = 'x'.repeat(5 * 1024 * 1024)
    for (const i of numbers(3)) {
      const message = { ...draft('user:ada', `parcel ${i}`), thinking }
      await service.log.append({ org: 'acme', cid: id(cid), draft: message, admin: false })
    }
    const first = await search.find(ada, cid, { q: 'parcel' })
    const at = (cursor: string | null) => search.find(ada, cid, { q: 'parcel', cursor: cursor ?? '' })
    expect(first).toMatchObject({ data: [{ content: 'parcel 3' }], page: { hasMore: true } })
    const second = await at(first.page.nextCursor)
    const rest = await at(second.page.nextCursor)
    expect(rest).toMatchObject({
      data: [{ content: 'parcel 1' }],
      page: { hasMore: false, nextCursor: null },
    })
    expect((await at(rest.page.prevCursor)).data).toEqual(second.data)
  })

  test('do not block other work while they are indexed and searched', async () => {
    const cid = await open(service, ada)
    const rows = numbers(30)
    await Promise.all(rows.map(() => say(service, ada, cid, 'a '.repeat(32_000))))
    await service.headUpdater.flush()
    const wait = await longestWait(async () => {
      expect((await search.find(ada, cid, { q: 'a', limit: 10 })).data).toHaveLength(10)
    })
    expect(wait).toBeLessThan(500)
  })
})
