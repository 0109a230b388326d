import { Change, LIMITS, Message, problem } from '@parley/contract'
import fc from 'fast-check'
import { ClientSession, ObjectId } from 'mongodb'
import { afterAll, beforeAll, describe, expect, inject, test, vi } from 'vitest'
import { createConversationReader } from '../conversations/reader.ts'
import {
  ada,
  admin,
  bob,
  bot,
  caller,
  codeOf,
  eve,
  id,
  logger,
  open,
  openConversationWorld,
  type Service,
  say,
} from '../conversations/testing/world.ts'
import { isVoid } from '../database/collections.ts'
import { createMessageStore } from '../messages/store.ts'
import { draft } from '../messages/testing/world.ts'
import { createEventBuilder } from '../publishing/events.ts'
import { createOutbox } from '../publishing/outbox.ts'
import { createRelay } from '../publishing/relay.ts'
import { createSearchIndexer } from '../search/indexer.ts'
import type { ChangeTransaction } from './transaction.ts'

let world: Awaited<ReturnType<typeof openConversationWorld>>
let service: Service
beforeAll(async () => {
  world = await openConversationWorld(inject('mongodbUri'))
  service = world.service()
})
afterAll(() => world.close())

const numbers = (count: number) => Array.from({ length: count }, (_, i) => i + 1)

/** What a reader sees of a conversation's counters, and what its rows add up to. */
async function counted(cid: string) {
  const shown = await service.conversations.get(ada, cid)
  const rows = await world.database.messages
    .find({ cid: id(cid) })
    .sort({ seq: 1 })
    .toArray()
  const messages = rows.filter((row) => !isVoid(row))
  const sum = (of: (row: (typeof messages)[number]) => number | undefined) =>
    messages.reduce((total, row) => total + (of(row) ?? 0), 0)
  const last = messages.at(-1)
  return {
    shown: {
      messageCount: shown.messageCount,
      lastSeq: shown.lastSeq,
      usage: shown.usage,
      totalCost: Math.round(shown.totalCost * 1e6),
      preview: shown.lastMessage?.preview ?? null,
      participantCount: shown.participantCount,
    },
    added: {
      messageCount: messages.filter((row) => !row.deletedAt).length,
      lastSeq: last?.seq ?? 0,
      usage: {
        inputTokens: sum((row) => row.usage?.inputTokens),
        outputTokens: sum((row) => row.usage?.outputTokens),
        totalTokens: sum((row) => row.usage?.totalTokens),
      },
      totalCost: sum((row) => row.costMicros),
      preview: last ? (last.deletedAt ? '' : last.content) : null,
      participantCount: await world.database.participants.countDocuments({ cid: id(cid) }),
    },
  }
}

const operation = fc.oneof(
  fc.record({ what: fc.constant('say' as const), by: fc.constantFrom(ada, bob, bot) }),
  fc.record({ what: fc.constant('delete' as const), which: fc.nat(20) }),
  fc.record({ what: fc.constant('title' as const), title: fc.constantFrom('a', 'b', 'c') }),
  fc.record({ what: fc.constant('add' as const), name: fc.constantFrom('x', 'y', 'z') }),
  fc.record({ what: fc.constant('remove' as const), name: fc.constantFrom('x', 'y', 'z') }),
  fc.record({ what: fc.constant('fold' as const) }),
)

describe('changes', () => {
  test('are numbered without gaps, and the counters stay true, whatever happens at once', {
    timeout: 60_000,
  }, async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(operation, { minLength: 10, maxLength: 40 }), async (operations) => {
        const services = [world.service(), world.service()]
        const [one = service] = services
        const cid = await open(one, ada, {
          agentId: 'bot',
          participants: [{ type: 'user', id: 'bob', role: 'owner' }],
        })
        const said = [await say(one, ada, cid, 'first'), await say(one, ada, cid, 'second')]

        await Promise.all(
          operations.map(async (operation, i) => {
            const by = services[i % 2] ?? one
            const expected = ['none', 'not_found', 'agent_loop']
            switch (operation.what) {
              case 'say':
                return say(by, operation.by, cid, `line ${i}`).then(
                  (id) => void said.push(id),
                  (error) => expect(error).toMatchObject({ code: 'agent_loop' }),
                )
              case 'delete':
                return expect(expected).toContain(
                  await codeOf(by.deleteMessage(ada, said[operation.which % said.length] ?? '')),
                )
              case 'title':
                return void (await by.conversations.update(bob, cid, { title: operation.title }))
              case 'add':
                return void (await by.participants.add(bob, cid, { type: 'user', id: operation.name }))
              case 'remove':
                return expect(expected).toContain(
                  await codeOf(by.participants.remove(ada, cid, { type: 'user', id: operation.name })),
                )
              case 'fold':
                return by.headUpdater.flush()
            }
          }),
        )

        const unfolded = await counted(cid)
        expect(unfolded.shown).toEqual(unfolded.added)
        for (const { headUpdater, outbox } of services) {
          await headUpdater.flush()
          await outbox.idle()
        }
        const folded = await counted(cid)
        expect(folded.shown).toEqual(folded.added)

        const { changeSeq } = await one.conversations.get(ada, cid)
        const audit = await world.database.audit
          .find({ cid: id(cid) })
          .sort({ changeSeq: 1 })
          .toArray()
        expect(audit.map((line) => line.changeSeq)).toEqual([0, ...numbers(changeSeq)])
        const published = services.flatMap(({ events }) =>
          events.flatMap((event) => (event.cid === cid && event.change ? [event.change] : [])),
        )
        expect(published.sort((a, b) => a - b)).toEqual(numbers(changeSeq))
        expect(await world.database.outbox.countDocuments({ cid: id(cid) })).toBe(0)

        const changed = await world.database.messages.find({ cid: id(cid), changeSeq: { $gt: 0 } }).toArray()
        expect(new Set(changed.map((row) => !isVoid(row) && row.changeSeq)).size).toBe(changed.length)
      }),
      { numRuns: 8 },
    )
  })

  test('waiting for one conversation share a transaction, and one that fails drops out alone', async () => {
    const cid = await open(service, ada)
    const outcomes = await Promise.all(
      numbers(100).map((i) =>
        service.changes
          .apply(id(cid), {
            by: 'user:ada',
            async run({ head }) {
              head.title = `title ${i}`
              head.tags = [...head.tags, String(i)]
              if (i % 10 === 0) throw new RangeError('refused')
              return {
                value: i,
                effect: { kind: 'conversation.updated', action: 'test', changed: ['title'] },
              }
            },
          })
          .then(
            ({ value, changeSeq }) => ({ value, changeSeq }),
            (error: unknown) => error,
          ),
      ),
    )
    expect(outcomes.filter((outcome) => outcome instanceof RangeError)).toHaveLength(10)
    const head = await world.database.conversations.findOne({ _id: id(cid) })
    expect(head?.changeSeq).toBe(90)
    expect(head?.tags).toEqual(
      numbers(100)
        .filter((i) => i % 10 !== 0)
        .map(String),
    )
    const times = await world.database.audit.distinct('at', { cid: id(cid), changeSeq: { $gt: 0 } })
    expect(times.length).toBeLessThanOrEqual(5)
  })

  test('after one that fails find all participants that it had read', async () => {
    const cid = await open(service, ada, { participants: [{ type: 'user', id: 'bob' }] })
    const gate = Promise.withResolvers<void>()
    const apply = <T>(run: (transaction: ChangeTransaction) => Promise<T>) =>
      service.changes.apply(id(cid), {
        by: null,
        run: async (transaction) => ({ value: await run(transaction) }),
      })
    const first = apply(() => gate.promise)
    const refused = codeOf(
      apply(async (transaction) => {
        await transaction.participants()
        throw problem('conflict')
      }),
    )
    const third = apply(async (transaction) => (await transaction.participant('user:bob'))?.role)
    gate.resolve()
    await first
    expect(await refused).toBe('conflict')
    expect((await third).value).toBe('member')
  })

  test('with nothing to change are answered once what they saw is on a majority', async () => {
    const cid = await open(service, ada)
    const commit = vi.spyOn(ClientSession.prototype, 'commitTransaction')
    await service.participants.add(ada, cid, { type: 'user', id: 'ada' })
    expect(commit).toHaveBeenCalledTimes(1)
    commit.mockRestore()
  })

  test('that waited for 10 s are refused, and do not happen after that', async () => {
    const cid = await open(service, ada)
    const gate = Promise.withResolvers<void>()
    const first = service.changes.apply(id(cid), {
      by: null,
      run: async () => ({ value: await gate.promise }),
    })
    const run = vi.fn(async () => ({ value: null }))
    vi.useFakeTimers({ toFake: ['setTimeout'] })
    const second = codeOf(service.changes.apply(id(cid), { by: null, run }))
    vi.advanceTimersByTime(10_000)
    vi.useRealTimers()
    expect(await second).toBe('unavailable')
    gate.resolve()
    await first
    await service.changes.idle()
    expect(run).not.toHaveBeenCalled()
  })

  test('of somebody removed a moment before do not happen', async () => {
    const cid = await open(service, ada, { participants: [{ type: 'user', id: 'bob', role: 'owner' }] })
    const apply = vi.spyOn(service.changes, 'apply')
    const queued = (count: number) => expect.poll(() => apply.mock.calls.length).toBe(count)
    const gate = Promise.withResolvers<void>()
    const first = service.changes.apply(id(cid), {
      by: null,
      run: async () => ({ value: await gate.promise }),
    })
    const removed = codeOf(service.participants.remove(ada, cid, bob))
    await queued(2)
    const titled = codeOf(service.conversations.update(bob, cid, { title: 'still here' }))
    await queued(3)
    gate.resolve()
    apply.mockRestore()
    expect(await Promise.all([first, removed, titled])).toMatchObject([
      { changeSeq: null },
      'none',
      'not_found',
    ])
    expect((await service.conversations.get(ada, cid)).title).toBe('')
  })

  test('of what was deleted a moment before do not happen', async () => {
    const cid = await open(service, ada)
    const apply = vi.spyOn(service.changes, 'apply')
    const queued = (count: number) => expect.poll(() => apply.mock.calls.length).toBe(count)
    const gate = Promise.withResolvers<void>()
    const first = service.changes.apply(id(cid), {
      by: null,
      run: async () => ({ value: await gate.promise }),
    })
    const deleted = codeOf(service.conversations.remove(ada, cid))
    await queued(2)
    const added = codeOf(service.participants.add(admin, cid, { type: 'user', id: 'eve' }))
    await queued(3)
    gate.resolve()
    apply.mockRestore()
    await first
    expect([await deleted, await added]).toEqual(['none', 'not_found'])
    expect(await world.database.participants.countDocuments({ cid: id(cid) })).toBe(0)
  })

  test('that can not be published are published by the relay, in order, and only then forgotten', async () => {
    const broken = world.service()
    const cid = await open(service, ada)
    broken.wire.broken = true
    for (const title of ['a', 'b', 'c']) await broken.conversations.update(ada, cid, { title })
    await broken.outbox.idle()
    expect(await world.database.outbox.countDocuments({ cid: id(cid) })).toBe(3)
    await expect(broken.relay.sweep()).rejects.toThrow('Redis is away')
    expect(await world.database.outbox.countDocuments({ cid: id(cid) })).toBe(3)

    broken.wire.broken = false
    await broken.relay.sweep()
    const events = broken.events.filter((event) => event.cid === cid)
    expect(events.map(({ change }) => change)).toEqual([1, 2, 3])
    expect(events.map(({ data }) => JSON.parse(data ?? '').conversation.title)).toEqual(['c', 'c', 'c'])
    expect(await world.database.outbox.countDocuments({ cid: id(cid) })).toBe(0)
  })

  test('go out in order, though the first takes longest to put together', async () => {
    const gate = Promise.withResolvers<void>()
    const told: (number | undefined)[] = []
    const outbox = createOutbox({
      outbox: world.database.outbox,
      publisher: { publish: async (events) => void told.push(...events.map(({ change }) => change)) },
      async build(rows) {
        if (rows[0]?.change === 1) await gate.promise
        return rows.map(({ type, org, cid, change }) => ({ type, org, cid: cid.toHexString(), change }))
      },
      logger,
    })
    const cid = new ObjectId()
    for (const change of [1, 2]) {
      const row = { _id: new ObjectId(), cid, org: 'acme', type: 'conversation.updated' as const, change }
      outbox.publish([{ ...row, createdAt: new Date() }])
    }
    setImmediate(gate.resolve)
    await outbox.idle()
    expect(told).toEqual([1, 2])
  })

  test('that their own process could not publish are open to any relay at once', async () => {
    const [broken, other] = [world.service(), world.service()]
    const cid = await open(service, ada)
    broken.wire.broken = true
    await broken.conversations.update(ada, cid, { title: 'a' })
    await broken.outbox.idle()
    await createRelay({ rows: world.database, outbox: other.outbox, logger }).sweep()
    expect(other.events.filter((event) => event.cid === cid).map(({ change }) => change)).toEqual([1])
  })

  test('a conversation announced late shows nothing to somebody who was removed meanwhile', async () => {
    const broken = world.service()
    broken.wire.broken = true
    const cid = await open(broken, ada, { participants: [{ type: 'user', id: 'bob' }] })
    await broken.participants.remove(ada, cid, bob)
    await say(broken, ada, cid, 'now that bob is gone')
    await broken.outbox.idle()
    broken.wire.broken = false
    await broken.relay.sweep()
    const [created] = broken.events.filter(
      ({ type, cid: of }) => of === cid && type === 'conversation.created',
    )
    expect(created).toMatchObject({ to: ['user:ada', 'user:bob'] })
    expect(created).not.toHaveProperty('data')
  })

  test('an addition shows nothing to somebody who is removed while it is put together', async () => {
    const { participants, outbox } = world.database
    const away = world.service()
    away.wire.broken = true
    const cid = await open(away, ada)
    await away.participants.add(ada, cid, { type: 'user', id: 'bob' })
    await away.outbox.idle()
    const rows = await outbox.find({ cid: id(cid), type: 'participant.added' }).toArray()
    const reader = createConversationReader({
      rows: world.database,
      store: createMessageStore(world.database),
    })
    const build = createEventBuilder({
      ...world.database,
      async roomViews(ids) {
        await away.participants.remove(ada, cid, bob)
        await say(away, ada, cid, 'now that bob is gone')
        return reader.roomViews(ids)
      },
    })
    const [added] = await build(rows)
    expect(await participants.countDocuments({ cid: id(cid), key: 'user:bob' })).toBe(0)
    expect(added).toMatchObject({ member: 'user:bob' })
    expect(added).not.toHaveProperty('data')
  })

  test('of messages too large for an entry are told without reading them', async () => {
    const cid = await open(service, ada)
    for (const thinking of ['short', 'x'.repeat(1024 * 1024)]) {
      const message = { ...draft('user:ada', 'a line'), thinking }
      await service.log.append({ org: 'acme', cid: id(cid), draft: message, admin: false })
    }
    await service.headUpdater.flush()
    const { messages } = world.database
    const told = await messages
      .find({ cid: id(cid) })
      .sort({ seq: 1 })
      .toArray()
    const rows = told.map(({ _id, seq }) => ({
      ...{ _id: new ObjectId(), cid: id(cid), org: 'acme', change: seq, createdAt: new Date() },
      ...{ type: 'message.updated' as const, messageId: _id },
    }))
    const find = vi.spyOn(messages, 'find')
    await service.outbox.send(rows, [])
    const read = await Promise.all(find.mock.results.map(({ value }) => value.clone().toArray()))
    find.mockRestore()
    // What follows earlier sends may read others meanwhile.
    const own = read.flat().filter((row) => row.cid.equals(cid))
    expect(own.map(({ seq }) => seq)).toEqual([1])
    const events = service.events.filter((event) => event.cid === cid && event.type === 'message.updated')
    expect(events.map(({ change, data }) => [change, data && JSON.parse(data).seq])).toEqual([
      [1, 1],
      [2, undefined],
    ])
  })
})

describe('what has changed', () => {
  test('is listed in ascending order: the latest state of each thing, no more than was asked for', async () => {
    const cid = await open(service, ada)
    const said = []
    for (const i of numbers(6)) said.push(await say(service, ada, cid, `line ${i}`))
    const [first = '', second = '', third = ''] = said
    await service.deleteMessage(ada, first) // 1
    await service.conversations.update(ada, cid, { title: 'one' }) // 2
    await service.deleteMessage(ada, second) // 3
    await service.participants.add(ada, cid, { type: 'user', id: 'bob' }) // 4
    await service.deleteMessage(ada, third) // 5

    const list = async (after?: number, limit?: number) => {
      const { data, page } = await service.history.changes(ada, cid, { after, limit })
      for (const change of data) expect(Change.parse(change)).toEqual(change)
      return [...data.map(({ changeSeq, kind }) => `${changeSeq} ${kind}`), page]
    }
    const done = { hasMore: false, lastChangeSeq: 5 }
    const more = { hasMore: true, lastChangeSeq: 5 }
    expect(await list()).toEqual([
      '1 message.deleted',
      '3 message.deleted',
      '4 participant.added',
      '5 message.deleted',
      done,
    ])
    expect(await list(0, 2)).toEqual(['1 message.deleted', '3 message.deleted', more])
    expect(await list(3, 1)).toEqual(['4 participant.added', more])
    expect(await list(4, 1)).toEqual(['5 message.deleted', done])
    expect(await list(5)).toEqual([done])
    expect(await list(99)).toEqual([done])
  })

  test('is listed without a gap when its messages are too long for one answer', async () => {
    const cid = await open(service, ada)
    const content = 'x'.repeat(LIMITS.contentBytes)
    for (const i of numbers(3)) {
      const messageId = id(await say(service, ada, cid, `line ${i}`))
      await service.changes.apply(id(cid), {
        by: null,
        async run(transaction) {
          Object.assign((await transaction.message(messageId)) ?? {}, { content, thinking: content })
          return { value: null, effect: { kind: 'message.updated', action: 'test', messageId } }
        },
      })
    }
    await service.conversations.update(ada, cid, { title: 'four' })
    const seen: number[] = []
    for (let more = true; more; ) {
      const { data, page } = await service.history.changes(ada, cid, { after: seen.at(-1) ?? 0 })
      seen.push(...data.map(({ changeSeq }) => changeSeq))
      more = page.hasMore
    }
    expect(seen).toEqual([1, 2, 3, 4])
  })
})

describe('a deleted message', () => {
  const secret = 'xyzzyplugh'

  test('leaves a tombstone, and nothing of its text anywhere', async () => {
    const cid = await open(service, ada, { agentId: 'bot' })
    const { row } = await service.messages.create(
      bot,
      {
        conversationId: cid,
        role: 'assistant',
        content: secret,
        thinking: secret,
        attachments: [`https://example.com/${secret}`],
        toolCalls: [{ id: 'c1', name: 'find', arguments: { q: secret } }],
        metadata: { note: secret },
        usage: { inputTokens: 5, outputTokens: 7 },
        clientMessageId: 'k1',
      },
      undefined,
    )
    const before = await service.conversations.get(ada, cid)
    expect(before).toMatchObject({ messageCount: 1, lastMessage: { preview: secret } })
    const message = row._id.toHexString()
    await service.headUpdater.flush()
    await service.deleteMessage(ada, message)
    await service.deleteMessage(ada, message)

    const tombstone = await service.messages.get(ada, message)
    expect(Message.parse(tombstone)).toEqual(tombstone)
    expect(tombstone).toMatchObject({
      seq: 1,
      changeSeq: 1,
      content: '',
      attachments: [],
      thinking: null,
      toolCalls: [],
      usage: { totalTokens: 12 },
      updatedBy: { type: 'user', id: 'ada' },
    })
    expect(tombstone.deletedAt).not.toBeNull()
    expect(await service.conversations.get(ada, cid)).toMatchObject({
      messageCount: 0,
      lastSeq: 1,
      lastMessage: { preview: '' },
      usage: { totalTokens: 12 },
      changeSeq: 1,
    })
    await service.outbox.idle()
    for (const collection of await world.database.db.collections()) {
      for await (const document of collection.find()) expect(JSON.stringify(document)).not.toContain(secret)
    }
  })

  test('leaves no words to search for, even if indexed during the delete', async () => {
    const cid = await open(service, ada)
    const message = await say(service, ada, cid, secret)
    await service.headUpdater.flush()
    const { conversations, searchTerms } = world.database
    const indexer = createSearchIndexer({ ...world.database, logger })
    const look = vi.spyOn(conversations, 'findOne')
    look.mockImplementationOnce(async (...asked: Parameters<typeof conversations.findOne>) => {
      const head = await conversations.findOne(...asked)
      await indexer.step(id(cid), 0, 1)
      return head
    })
    await service.deleteMessage(ada, message)
    look.mockRestore()
    expect(await searchTerms.countDocuments({ cid: id(cid), terms: secret })).toBe(0)
  })

  test('keeps its empty place in the index, even if indexed from its former text', async () => {
    const cid = await open(service, ada)
    const message = await say(service, ada, cid, secret)
    await service.headUpdater.flush()
    const { searchTerms } = world.database
    const insert = vi.spyOn(searchTerms, 'insertMany')
    insert.mockImplementationOnce(async (...rows: Parameters<typeof searchTerms.insertMany>) => {
      await service.deleteMessage(ada, message)
      return searchTerms.insertMany(...rows)
    })
    await createSearchIndexer({ ...world.database, logger }).step(id(cid), 0, 1)
    insert.mockRestore()
    expect(await searchTerms.findOne({ cid: id(cid) })).toMatchObject({ terms: [] })
  })

  test('before it was counted is counted as a tombstone', async () => {
    const cid = await open(service, ada)
    const [first] = [await say(service, ada, cid, 'one'), await say(service, ada, cid, 'two')]
    await service.deleteMessage(ada, first)
    expect((await counted(cid)).shown).toMatchObject({ messageCount: 1, lastSeq: 2, preview: 'two' })
    await service.headUpdater.flush()
    expect((await counted(cid)).shown).toMatchObject({ messageCount: 1, lastSeq: 2, preview: 'two' })
  })

  test('is deleted by its author or an owner; below a summary it makes the summary due', async () => {
    const cid = await open(service, ada, {
      participants: [
        { type: 'user', id: 'bob' },
        { type: 'user', id: 'eve' },
      ],
    })
    const message = await say(service, bob, cid, 'one')
    await service.headUpdater.flush()
    expect(await codeOf(service.deleteMessage(eve, message))).toBe('forbidden')
    expect(await codeOf(service.deleteMessage(caller('nobody'), message))).toBe('not_found')
    expect(await codeOf(service.deleteMessage(ada, cid))).toBe('not_found')
    await world.database.conversations.updateOne({ _id: id(cid) }, { $set: { summaryCoversSeq: 1 } })
    await service.deleteMessage(bob, message)
    const head = await world.database.conversations.findOne({ _id: id(cid) })
    expect(head).toMatchObject({ contentRev: 1, summaryDue: true })
  })
})
