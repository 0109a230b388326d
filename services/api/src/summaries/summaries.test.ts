import { ObjectId } from 'mongodb'
import { afterAll, beforeAll, describe, expect, inject, test, vi } from 'vitest'
import { draft } from '../messages/testing/world.ts'
import { lines, openSummaryWorld, type SummaryWorld } from './testing/world.ts'

const people = { 'user:ada': 'owner', 'user:bob': 'member' } as const

let world: SummaryWorld
beforeAll(async () => {
  world = await openSummaryWorld(inject('mongodbUri'))
})
afterAll(() => world.close())

describe('every ten messages', () => {
  test('each full bucket gets one summary, in order', async () => {
    const cid = await world.conversation(people)
    await world.say(cid, lines(35))
    expect(await world.run(cid)).toEqual([10, 20, 30])
    expect(await world.head(cid)).toMatchObject({ summaryCoversSeq: 30, changeSeq: 3 })
    expect(await world.head(cid)).not.toHaveProperty('summaryDue')
    expect((await world.stored(cid)).map(({ bucket }) => bucket)).toEqual([1, 2, 3])
  })

  test('nothing is due before the tenth', async () => {
    const cid = await world.conversation(people)
    await world.say(cid, lines(9))
    expect(await world.reader.read(cid.toHexString())).toEqual({ state: 'current' })
  })

  test('a step gets the summary before it and the new messages, not the old ones', async () => {
    const cid = await world.conversation(people)
    await world.say(cid, lines(20))
    expect(await world.write(world.summarise(cid, await world.work(cid)))).toBe(true)
    expect(await world.work(cid)).toMatchObject({
      coversSeq: 10,
      throughSeq: 20,
      previousSeq: 10,
      previousText: lines(10).join('; '),
      messages: lines(20)
        .slice(10)
        .map((content, i) => ({ content, seq: i + 11, author: i % 2 === 0 ? 'ada' : 'bob' })),
    })
  })

  test('of two workers that did the same step one counts; a late one never overwrites a newer summary', async () => {
    const cid = await world.conversation(people)
    await world.say(cid, lines(20))
    const work = await world.work(cid)
    const both = await Promise.all([
      world.write(world.summarise(cid, work)),
      world.write({ ...world.summarise(cid, work), text: 'the other' }),
    ])
    expect(both.toSorted()).toEqual([false, true])
    await world.run(cid)
    const newest = await world.head(cid)
    expect(await world.write({ ...world.summarise(cid, work), text: 'late' })).toBe(false)
    expect(await world.head(cid)).toEqual(newest)
    expect(await world.stored(cid)).toHaveLength(2)
  })

  test('only the newest summary keeps its notes', async () => {
    const cid = await world.conversation(people)
    await world.say(cid, lines(20))
    await world.run(cid)
    const [first, second] = await world.stored(cid)
    expect(first).not.toHaveProperty('notes')
    expect(second?.notes).toHaveLength(20)
  })

  test('a bucket waits for its streaming message', async () => {
    const cid = await world.conversation(people)
    await world.say(cid, lines(10))
    await world.database.messages.updateOne({ cid, seq: 4 }, { $set: { status: 'streaming' } })
    expect(await world.reader.read(cid.toHexString())).toEqual({ state: 'waiting' })
    expect(await world.head(cid)).toMatchObject({ summaryDue: true })
    await world.database.messages.updateOne({ cid, seq: 4 }, { $set: { status: 'sent' } })
    expect(await world.run(cid)).toEqual([10])
  })

  test('a number that no message has is no reason to wait', async () => {
    const cid = await world.conversation(people)
    await world.say(cid, lines(4))
    await world.database.messages.insertOne({ _id: new ObjectId(), cid, org: 'acme', seq: 5, void: true })
    const other = world.process
    await other.headUpdater.touch(cid)
    await world.say(cid, lines(5, 'more'))
    expect(await world.run(cid)).toEqual([10])
    expect((await world.head(cid))?.summary).toContain('more 5')
  })

  test('tokens and cost are recorded with the summary and in the audit, apart from those of messages', async () => {
    const cid = await world.conversation(people)
    await world.say(cid, lines(10))
    await world.run(cid)
    expect(await world.stored(cid)).toMatchObject([
      { inputTokens: 100, outputTokens: 10, costMicros: 120_000, model: 'small', by: 'model' },
    ])
    expect(await world.head(cid)).toMatchObject({ totalTokens: 0, costMicros: 0 })
    expect(await world.database.audit.find({ cid }).toArray()).toMatchObject([
      { action: 'conversation.summarize', after: { summaryCoversSeq: 10, cost: 0.12 } },
    ])
  })
})

describe('outdated content', () => {
  test('that was deleted is gone with the next run, also from older summaries, and the rest is kept', async () => {
    const cid = await world.conversation(people)
    await world.say(cid, lines(40))
    await world.run(cid)
    await world.remove(cid, 15)
    expect(await world.work(cid)).toMatchObject({
      coversSeq: 40,
      throughSeq: 40,
      previousSeq: 10,
      messages: [],
    })
    expect(await world.run(cid)).toEqual([40])
    const head = await world.head(cid)
    expect(head?.summary?.split('; ')).toEqual(lines(40).filter((line) => line !== 'line 15'))
    expect(head).not.toHaveProperty('summaryDue')
    const stored = await world.stored(cid)
    expect(stored.map(({ throughSeq }) => throughSeq)).toEqual([10, 40])
    expect(JSON.stringify(stored)).not.toContain('line 15')
  })

  test('the context shows nothing deleted even before that run', async () => {
    const cid = await world.conversation(people)
    await world.say(cid, lines(30))
    await world.run(cid)
    await world.remove(cid, 15)
    const head = await world.head(cid)
    expect(head && (await world.reader.standing(head))).toEqual({ text: lines(10).join('; '), coversSeq: 10 })
  })

  test('nor if that run ends while the context is put together', async () => {
    const cid = await world.conversation(people)
    await world.say(cid, ['secret', ...lines(9)])
    await world.run(cid)
    await world.remove(cid, 1)
    const head = await world.head(cid)
    await world.run(cid)
    expect(head && (await world.reader.standing(head))).toEqual({ text: lines(9).join('; '), coversSeq: 10 })
  })

  test('a delete while a summary is being made voids it', async () => {
    const cid = await world.conversation(people)
    await world.say(cid, lines(10))
    const work = await world.work(cid)
    await world.remove(cid, 3)
    expect(await world.write(world.summarise(cid, work))).toBe(false)
    expect(await world.run(cid)).toEqual([10])
    expect((await world.head(cid))?.summary).not.toContain('line 3')
  })

  test('a delete above what a summary being made covers leaves it in force', async () => {
    const cid = await world.conversation(people)
    await world.say(cid, lines(25))
    const work = await world.work(cid)
    await world.remove(cid, 25)
    await world.remove(cid, 15)
    expect(await world.write(world.summarise(cid, work))).toBe(true)
    expect(await world.run(cid)).toEqual([20])
    expect((await world.head(cid))?.summary).not.toContain('line 15')
  })

  test('a summary made again counts once, though its write is repeated', async () => {
    const cid = await world.conversation(people)
    await world.say(cid, lines(10))
    await world.run(cid)
    await world.remove(cid, 3)
    const again = world.summarise(cid, await world.work(cid))
    expect([await world.write(again), await world.write(again)]).toEqual([true, false])
    expect(await world.head(cid)).toMatchObject({ changeSeq: 3 })
  })

  test('an edited message is read again', async () => {
    const cid = await world.conversation(people)
    await world.say(cid, lines(10))
    await world.run(cid)
    const row = await world.database.messages.findOne({ cid, seq: 7 })
    await world.changes.apply(cid, {
      by: null,
      async run(transaction) {
        const message = row && (await transaction.message(row._id))
        if (message) message.content = 'seventh, corrected'
        transaction.head.contentRev++
        transaction.head.summaryDue = true
        return {
          value: undefined,
          effect: { kind: 'message.updated', action: 'message.edit', messageId: row?._id ?? new ObjectId() },
        }
      },
    })
    await world.run(cid)
    const summary = (await world.head(cid))?.summary
    expect(summary).toContain('seventh, corrected')
    expect(summary).not.toContain('line 7')
  })

  test('a revision that touched nothing the summary covers makes no work, and is settled', async () => {
    const cid = await world.conversation(people)
    await world.say(cid, lines(12))
    await world.run(cid)
    await world.remove(cid, 12)
    await world.database.conversations.updateOne({ _id: cid }, { $set: { summaryDue: true } })
    expect(await world.reader.read(cid.toHexString())).toEqual({ state: 'current' })
    const head = await world.head(cid)
    expect(head).not.toHaveProperty('summaryDue')
    expect(head?.summaryContentRev).toBe(head?.contentRev)
  })

  test('a summary that falls due while none is found due stays due', async () => {
    const cid = await world.conversation(people)
    await world.say(cid, lines(10))
    await world.run(cid)
    const { conversations } = world.database
    await conversations.updateOne({ _id: cid }, { $set: { summaryDue: true } })
    const look = vi.spyOn(conversations, 'findOne')
    look.mockImplementationOnce(async (...asked: Parameters<typeof conversations.findOne>) => {
      const head = await conversations.findOne(...asked)
      await world.say(cid, lines(10, 'more'))
      return head
    })
    expect(await world.reader.read(cid.toHexString())).toEqual({ state: 'current' })
    look.mockRestore()
    expect(await world.head(cid)).toMatchObject({ settledSeq: 20, summaryDue: true })
  })

  test('a deleted conversation makes no work and takes no summary', async () => {
    const cid = await world.conversation(people)
    await world.say(cid, lines(10))
    const work = await world.work(cid)
    await world.database.conversations.updateOne({ _id: cid }, { $set: { deletedAt: new Date() } })
    expect(await world.reader.read(cid.toHexString())).toEqual({ state: 'current' })
    expect(await world.write(world.summarise(cid, work))).toBe(false)
    expect(await world.stored(cid)).toEqual([])
  })
})

test('messages sent while summaries are made lose nothing of either', async () => {
  const cid = await world.conversation(people)
  const sending = Promise.all(
    lines(60).map((line) =>
      world.process.log.append({ org: 'acme', cid, draft: draft('user:ada', line), admin: false }),
    ),
  )
  const working = (async () => {
    while ((await world.head(cid))?.summaryCoversSeq !== 60) await world.run(cid)
  })()
  await Promise.all([sending, working])
  await world.process.headUpdater.flush()
  expect((await world.stored(cid)).map(({ bucket }) => bucket)).toEqual([1, 2, 3, 4, 5, 6])
  expect(await world.head(cid)).toMatchObject({ messageCount: 60, changeSeq: 6 })
})
