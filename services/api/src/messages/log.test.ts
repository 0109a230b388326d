import { setImmediate as nextTurn } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { ObjectId } from 'mongodb'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, test, vi } from 'vitest'
import { isVoid } from '../database/collections.ts'
import type { MessageStore } from './store.ts'
import { draft, openWorld } from './testing/world.ts'

let world: Awaited<ReturnType<typeof openWorld>>
beforeAll(async () => {
  world = await openWorld(inject('mongodbUri'))
})
afterAll(() => world.close())

const people = {
  'user:ada': 'owner',
  'user:bob': 'member',
  'user:eve': 'observer',
  'agent:bot': 'member',
} as const
const rowsOf = (cid: ObjectId) => world.database.messages.find({ cid }).sort({ seq: 1 }).toArray()
const numbers = (count: number) => Array.from({ length: count }, (_, i) => i + 1)

setFlagsFromString('--expose-gc')
const collectGarbage: () => void = runInNewContext('gc')

type Process = ReturnType<typeof world.process>
const send = (process: Process, cid: ObjectId, author: string, content: string, key?: string) =>
  process.log.append({ org: 'acme', cid, draft: draft(author, content, key), admin: false })

describe('numbers', () => {
  test('are 1, 2, 3 … in the order of answers, however many are sent at once', async () => {
    const process = world.process()
    const cid = await world.conversation(people)
    const sent = await Promise.all(
      numbers(100).map((i) => send(process, cid, i % 2 ? 'user:ada' : 'user:bob', `line ${i}`)),
    )
    expect(sent.map(({ row }) => row.seq).sort((a, b) => a - b)).toEqual(numbers(100))
    const own = sent.filter(({ row }) => row.author === 'user:ada').map(({ row }) => row.content)
    const stored = (await rowsOf(cid)).flatMap((row) =>
      !isVoid(row) && row.author === 'user:ada' ? row.content : [],
    )
    expect(stored).toEqual(own)
    expect(process.events.map(({ seq }) => seq)).toEqual(numbers(100))
  })

  test('stay contiguous while two processes write to one conversation', async () => {
    const [one, two] = [world.process(), world.process()]
    const cid = await world.conversation(people)
    const sent = await Promise.all(
      numbers(100).map((i) => send(i % 2 ? one : two, cid, i % 3 ? 'user:ada' : 'user:bob', `line ${i}`)),
    )
    expect(sent.map(({ row }) => row.seq).sort((a, b) => a - b)).toEqual(numbers(100))
    expect((await rowsOf(cid)).map(({ seq }) => seq)).toEqual(numbers(100))
  })

  test('messages sent to many conversations at once are numbered separately in each', async () => {
    const process = world.process()
    const cids = await Promise.all(numbers(20).map(() => world.conversation(people)))
    await Promise.all(
      cids.flatMap((cid) => numbers(5).map((i) => send(process, cid, 'user:ada', `line ${i}`))),
    )
    for (const cid of cids) expect((await rowsOf(cid)).map(({ seq }) => seq)).toEqual(numbers(5))
  })
})

describe('large messages', () => {
  test('that are together too large for one command are stored like others', async () => {
    const process = world.process()
    const cid = await world.conversation(people)
    // The most that a request may become: 1 MiB of small numbers.
    const large = 'x'.repeat(6 * 1024 * 1024)
    const authors = ['user:ada', 'user:bob', 'agent:bot']
    const sent = await Promise.all(authors.map((author) => send(process, cid, author, large)))
    expect(sent.map(({ row }) => row.seq)).toEqual([1, 2, 3])
  })
})

describe('an insert whose answer is lost', () => {
  /** Every third insert loses its answer: half of those were carried out, half never arrived. */
  const lossy = (store: MessageStore): MessageStore => {
    let count = 0
    return {
      ...store,
      insert: async (rows) => {
        count++
        if (count % 3 !== 0) return store.insert(rows)
        if (count % 2 === 0) await store.insert(rows)
        return { outcomes: rows.map(() => 'unknown'), election: undefined }
      },
    }
  }

  test('neither loses, doubles nor reorders a message', async () => {
    const process = world.process(lossy)
    const cid = await world.conversation(people)
    const sent = await Promise.all(
      numbers(60).map((i) => send(process, cid, i % 2 ? 'user:ada' : 'user:bob', `line ${i}`, `key ${i}`)),
    )
    const rows = await rowsOf(cid)
    const messages = rows.flatMap((row) => (isVoid(row) ? [] : [row]))
    expect(rows.map(({ seq }) => seq)).toEqual(numbers(rows.length))
    expect(messages.map(({ content }) => content).sort()).toEqual(
      numbers(60)
        .map((i) => `line ${i}`)
        .sort(),
    )
    expect(new Set(sent.map(({ row }) => row.seq)).size).toBe(60)
    // Nobody was told of a message that later was not there, or had another number.
    const idAt = new Map(messages.map((row) => [row.seq, row._id.toHexString()]))
    for (const { type, seq, data } of process.events) {
      if (type === 'message.created') expect(JSON.parse(data ?? '').id).toBe(idAt.get(seq ?? 0))
    }
    const order = (author: string) =>
      messages.filter((row) => row.author === author).map(({ content }) => content)
    expect(order('user:ada')).toEqual(
      numbers(60)
        .filter((i) => i % 2)
        .map((i) => `line ${i}`),
    )
    expect(order('user:bob')).toEqual(
      numbers(60)
        .filter((i) => i % 2 === 0)
        .map((i) => `line ${i}`),
    )
  })
})

describe('a message that MongoDB refuses', () => {
  const validate = (validator: object) => world.database.db.command({ collMod: 'messages', validator })
  beforeEach(() => validate({ content: { $ne: 'refused' } }))
  afterEach(() => validate({}))

  test('is tried again ever more slowly, behind what others send there', async () => {
    const process = world.process()
    const cid = await world.conversation(people)
    const started = performance.now()
    const refused = send(process, cid, 'user:ada', 'refused')
    await vi.waitFor(async () => expect((await rowsOf(cid)).length).toBeGreaterThan(6), { timeout: 20_000 })
    // 10, 20, 40, 80, 160 and 320 ms lie between the first seven attempts.
    expect(performance.now() - started).toBeGreaterThan(600)
    const { row } = await send(process, cid, 'user:bob', 'accepted')
    await validate({})
    expect((await refused).row.seq).toBeGreaterThan(row.seq)
  })

  test('keeps no other conversation waiting, in however many it is', async () => {
    const process = world.process()
    const cids = await Promise.all(numbers(5).map(() => world.conversation(people)))
    const [free = new ObjectId(), ...refusing] = cids
    vi.useFakeTimers({ toFake: ['setTimeout'] })
    try {
      // One after the other, each in a command of its own, until as many pause as there may be in flight.
      const stuck: Promise<unknown>[] = []
      for (const cid of refusing) {
        stuck.push(send(process, cid, 'user:ada', 'refused'))
        while ((await rowsOf(cid)).length === 0) await nextTurn()
      }
      expect((await send(process, free, 'user:ada', 'accepted')).row.seq).toBe(1)
      await validate({})
      vi.advanceTimersByTime(1_000)
      await Promise.all(stuck)
    } finally {
      vi.useRealTimers()
    }
  })
})

/** A send that has no answer for 10 s; afterwards, what is left of its message. */
async function giveUp(process: Process, cid: ObjectId) {
  vi.useFakeTimers({ toFake: ['setTimeout'] })
  const message = draft('user:bob', 'two')
  const sent = process.log.append({ org: 'acme', cid, draft: message, admin: false })
  const refusal = sent.then(
    () => 'none',
    (error) => error.code,
  )
  vi.advanceTimersByTime(10_000)
  vi.useRealTimers()
  expect(await refusal).toBe('unavailable')
  return new WeakRef(message)
}

describe('a send that is given up on', () => {
  test('is not queued any longer, though the batch before it has no answer yet', async () => {
    const underWay = Promise.withResolvers<void>()
    const gate = Promise.withResolvers<void>()
    const process = world.process((store) => ({
      ...store,
      async insert(rows) {
        underWay.resolve()
        await gate.promise
        return store.insert(rows)
      },
    }))
    const cid = await world.conversation(people)
    const first = send(process, cid, 'user:ada', 'one')
    await underWay.promise

    const message = await giveUp(process, cid)
    const isKept = () => {
      collectGarbage()
      return message.deref() !== undefined
    }
    await expect.poll(isKept).toBe(false)
    gate.resolve()
    expect((await first).row.seq).toBe(1)
  })
})

describe('idempotency', () => {
  test('the same key at once and later is one message, across processes', async () => {
    const [one, two] = [world.process(), world.process()]
    const cid = await world.conversation(people)
    const sent = await Promise.all(
      numbers(20).map((i) => send(i % 2 ? one : two, cid, 'user:ada', 'once', 'key')),
    )
    expect(new Set(sent.map(({ row }) => row._id.toHexString())).size).toBe(1)
    expect(sent.filter(({ created }) => created)).toHaveLength(1)
    const later = await send(two, cid, 'user:ada', 'once', 'key')
    expect(later.created).toBe(false)
    expect((await rowsOf(cid)).filter((row) => !isVoid(row))).toHaveLength(1)
  })

  test('a different payload under the key is refused, at once and later', async () => {
    const process = world.process()
    const cid = await world.conversation(people)
    const [first, second] = await Promise.allSettled([
      send(process, cid, 'user:ada', 'one', 'key'),
      send(process, cid, 'user:ada', 'two', 'key'),
    ])
    expect(first.status).toBe('fulfilled')
    expect(second).toMatchObject({ status: 'rejected', reason: { code: 'idempotency_mismatch' } })
    await expect(send(process, cid, 'user:ada', 'three', 'key')).rejects.toMatchObject({
      code: 'idempotency_mismatch',
    })
  })

  test('the key belongs to its author', async () => {
    const process = world.process()
    const cid = await world.conversation(people)
    const [ada, bob] = await Promise.all([
      send(process, cid, 'user:ada', 'one', 'key'),
      send(process, cid, 'user:bob', 'two', 'key'),
    ])
    expect([ada.created, bob.created]).toEqual([true, true])
  })

  test('a space does not end a key', async () => {
    const process = world.process()
    const cid = await world.conversation({ 'user:ada': 'owner', 'user:bob user:ada': 'member' })
    const sent = await Promise.all([
      send(process, cid, 'user:ada', 'one', 'key user:bob'),
      send(process, cid, 'user:bob user:ada', 'two', 'key'),
    ])
    expect(sent.map(({ row }) => row.author)).toEqual(['user:ada', 'user:bob user:ada'])
  })

  test('outlives a closed conversation', async () => {
    const process = world.process()
    const cid = await world.conversation(people)
    const { row } = await send(process, cid, 'user:ada', 'one', 'key')
    await world.database.conversations.updateOne({ _id: cid }, { $set: { status: 'closed' } })
    expect((await send(process, cid, 'user:ada', 'one', 'key')).row._id).toEqual(row._id)
    await expect(send(process, cid, 'user:ada', 'one', 'new')).rejects.toMatchObject({
      code: 'conversation_not_active',
    })
  })

  test('a repeat is answered once nothing can come below it, though the process that stored it died before that', async () => {
    for (const status of ['active', 'closed'] as const) {
      const [dying, heir] = [world.process(), world.process()]
      const cid = await world.conversation(people)
      await dying.store.insert([
        {
          ...draft('user:ada', 'one', 'key'),
          cid,
          org: 'acme',
          seq: 2,
          createdAt: new Date(),
          unsettled: true,
        },
      ])
      await world.database.conversations.updateOne({ _id: cid }, { $set: { status } })
      expect((await send(heir, cid, 'user:ada', 'one', 'key')).row.seq).toBe(2)
      await world.database.conversations.updateOne({ _id: cid }, { $set: { status: 'active' } })
      expect((await send(heir, cid, 'user:ada', 'two')).row.seq).toBe(3)
    }
  })
})

describe('refused sends', () => {
  test('get 404 or 403, depending on what the sender may see', async () => {
    const process = world.process()
    const cid = await world.conversation(people)
    await expect(send(process, cid, 'user:mallory', 'hi')).rejects.toMatchObject({ code: 'not_found' })
    await expect(send(process, new ObjectId(), 'user:ada', 'hi')).rejects.toMatchObject({ code: 'not_found' })
    await expect(send(process, cid, 'user:eve', 'hi')).rejects.toMatchObject({ code: 'forbidden' })
    await expect(
      process.log.append({ org: 'other', cid, draft: draft('user:ada', 'hi'), admin: true }),
    ).rejects.toMatchObject({ code: 'not_found' })
    await expect(
      process.log.append({ org: 'acme', cid, draft: draft('user:root', 'hi'), admin: true }),
    ).rejects.toMatchObject({ code: 'forbidden' })
    expect(await rowsOf(cid)).toEqual([])
  })

  test('tell a removed participant nothing of earlier messages', async () => {
    const process = world.process()
    const cid = await world.conversation(people)
    await send(process, cid, 'user:ada', 'one', 'key')
    await world.database.participants.deleteOne({ cid, key: 'user:ada' })
    await world.database.conversations.updateOne({ _id: cid }, { $set: { membersRev: new ObjectId() } })
    await expect(send(process, cid, 'user:ada', 'one', 'key')).rejects.toMatchObject({ code: 'not_found' })
  })

  test('a namesake in another org does not share the outcome of a send under way, whoever comes first', async () => {
    const process = world.process()
    const cid = await world.conversation(people)
    const from = (org: string, key: string, content = key) =>
      process.log.append({ org, cid, draft: draft('user:ada', content, key), admin: false })
    const sent = await Promise.allSettled([
      from('acme', 'one'),
      from('other', 'one'),
      from('other', 'two'),
      from('acme', 'two'),
      from('acme', 'three'),
      from('other', 'three', 'a guess'),
    ])
    expect(sent.map((one) => (one.status === 'fulfilled' ? 'stored' : one.reason.code))).toEqual([
      'stored',
      'not_found',
      'not_found',
      'stored',
      'stored',
      'not_found',
    ])
  })

  test('a parent in another conversation is refused alone', async () => {
    const process = world.process()
    const [cid, other] = [await world.conversation(people), await world.conversation(people)]
    const { row } = await send(process, other, 'user:ada', 'elsewhere')
    const [refused, sent] = await Promise.allSettled([
      process.log.append({
        org: 'acme',
        cid,
        draft: { ...draft('user:ada', 'answer'), parentId: row._id },
        admin: false,
      }),
      send(process, cid, 'user:bob', 'fine'),
    ])
    expect(refused).toMatchObject({ status: 'rejected', reason: { code: 'validation_failed' } })
    expect(sent).toMatchObject({ status: 'fulfilled', value: { row: { seq: 1 } } })
  })

  test('agents wait for a person after eight messages in a row, in whichever process', async () => {
    const [one, two] = [world.process(), world.process()]
    const cid = await world.conversation(people)
    for (const i of numbers(8)) await send(i % 2 ? one : two, cid, 'agent:bot', `line ${i}`)
    await expect(send(one, cid, 'agent:bot', 'ninth')).rejects.toMatchObject({ code: 'agent_loop' })
    await expect(send(two, cid, 'agent:bot', 'ninth')).rejects.toMatchObject({ code: 'agent_loop' })
    await send(two, cid, 'user:ada', 'go on')
    await expect(send(one, cid, 'agent:bot', 'ninth')).resolves.toMatchObject({ row: { seq: 10 } })
  })
})

describe('a repeat beside an agent’s message', () => {
  const both = { ...people, 'agent:helper': 'member' } as const

  test('by a person does not let agents continue', async () => {
    const process = world.process()
    const cid = await world.conversation(both)
    await send(process, cid, 'user:ada', 'hello', 'key')
    for (const i of numbers(8)) await send(process, cid, 'agent:bot', `line ${i}`)
    const [repeat, ninth] = await Promise.allSettled([
      send(process, cid, 'user:ada', 'hello', 'key'),
      send(process, cid, 'agent:bot', 'ninth'),
    ])
    expect(repeat).toMatchObject({ value: { row: { seq: 1 }, created: false } })
    expect(ninth).toMatchObject({ reason: { code: 'agent_loop' } })
  })

  test('by another agent does not keep it from continuing', async () => {
    const process = world.process()
    const cid = await world.conversation(both)
    await send(process, cid, 'user:ada', 'hello', 'key')
    for (const i of numbers(7)) await send(process, cid, 'agent:bot', `line ${i}`, `key ${i}`)
    await send(process, cid, 'user:ada', 'hello', 'key')
    const [repeat, eighth] = await Promise.allSettled([
      send(process, cid, 'agent:bot', 'line 1', 'key 1'),
      send(process, cid, 'agent:helper', 'eighth'),
    ])
    expect(repeat).toMatchObject({ value: { row: { seq: 2 }, created: false } })
    expect(eighth).toMatchObject({ value: { row: { content: 'eighth' } } })
  })
})

describe('the fold', () => {
  test('counts each message once, and reports a full bucket', async () => {
    const process = world.process()
    const cid = await world.conversation(people)
    const usage = { inputTokens: 3, outputTokens: 4, totalTokens: 7 }
    await Promise.all(
      numbers(25).map((i) =>
        process.log.append({
          org: 'acme',
          cid,
          draft: { ...draft('user:ada', `line ${i}`), usage, costMicros: 14 },
          admin: false,
        }),
      ),
    )
    await process.headUpdater.flush()
    expect(await world.database.conversations.findOne({ _id: cid })).toMatchObject({
      settledSeq: 25,
      lastSeq: 25,
      messageCount: 25,
      inputTokens: 75,
      totalTokens: 175,
      costMicros: 350,
      summaryDue: true,
      lastMessage: { seq: 25, author: 'user:ada' },
    })
    expect(process.due.at(-1)).toBeGreaterThanOrEqual(20)
    await expect.poll(() => world.database.messages.countDocuments({ cid, unsettled: true })).toBe(0)
  })

  test('two processes that fold at once count nothing twice', async () => {
    const [one, two] = [world.process(), world.process()]
    const cid = await world.conversation(people)
    for (const round of numbers(5)) {
      await Promise.all(
        numbers(10).map((i) => send(i % 2 ? one : two, cid, 'user:ada', `line ${round}.${i}`)),
      )
      await Promise.all([one.headUpdater.flush(), two.headUpdater.flush()])
    }
    expect(await world.database.conversations.findOne({ _id: cid })).toMatchObject({
      settledSeq: 50,
      messageCount: 50,
    })
  })

  test('misses none of many if one head changes between its read and its write', async () => {
    let change: (() => Promise<unknown>) | undefined
    const process = world.process((store) => ({
      ...store,
      tails: async (...request) => {
        const rows = await store.tails(...request)
        await change?.()
        change = undefined
        return rows
      },
    }))
    const cids = await Promise.all(numbers(20).map(() => world.conversation(people)))
    await Promise.all(
      cids.flatMap((cid) => numbers(10).map((i) => send(process, cid, 'user:ada', `line ${i}`))),
    )
    change = () => world.database.conversations.updateOne({ _id: { $in: cids } }, { $inc: { changeSeq: 1 } })
    await process.headUpdater.flush()
    expect(process.due).toEqual(cids.map(() => 10))
    const heads = await world.database.conversations.find({ _id: { $in: cids } }).toArray()
    expect(heads.map(({ settledSeq }) => settledSeq)).toEqual(cids.map(() => 10))
  })

  test('waits for no other conversation, though a process died there in the middle of a change', async () => {
    const { database } = world
    const process = world.process()
    const cids = await Promise.all(numbers(20).map(() => world.conversation(people)))
    await Promise.all(cids.map((cid) => send(process, cid, 'user:ada', 'line')))
    const [locked, others] = [cids.slice(0, 1), cids.slice(1)]
    const session = database.client.startSession()
    session.startTransaction()
    await database.conversations.updateOne(
      { _id: { $in: locked } },
      { $set: { title: 'changed' } },
      { session },
    )
    await process.headUpdater.foldNow(cids)
    const folded = await database.conversations.find({ _id: { $in: cids }, settledSeq: 1 }).toArray()
    // Its lock was held until now.
    await session.commitTransaction()
    await session.endSession()
    expect(new Set(folded.map(({ _id }) => _id.toHexString()))).toEqual(
      new Set(others.map((cid) => cid.toHexString())),
    )
    await process.headUpdater.flush()
    expect(await database.conversations.countDocuments({ _id: { $in: cids }, settledSeq: 1 })).toBe(20)
  })

  test('500 unfolded messages are folded at once', async () => {
    const process = world.process()
    const cid = await world.conversation(people)
    const rows = numbers(500).map((seq) => ({
      ...draft('user:ada', `line ${seq}`),
      cid,
      org: 'acme',
      seq,
      createdAt: new Date(),
      unsettled: true as const,
    }))
    await process.store.insert(rows)
    vi.useFakeTimers({ toFake: ['setTimeout'] })
    process.headUpdater.markPublished(rows)
    vi.useRealTimers()
    await expect
      .poll(async () => (await world.database.conversations.findOne({ _id: cid }))?.settledSeq)
      .toBe(500)
  })
})

test('what a sender has read is noted with each send, and with a repeat of it', async () => {
  const process = world.process()
  const cid = await world.conversation(people)
  for (let i = 0; i < 2; i++) await send(process, cid, 'user:ada', 'one', 'key')
  const position = { cid, org: 'acme', key: 'user:ada', seq: 1 }
  expect(process.noted).toEqual([position, position])
})

describe('the sweeper', () => {
  test('notes what an author has read whose process died before it did', async () => {
    const cid = await world.conversation({ 'user:ada': 'owner' })
    const { store, sweeper, noted } = world.process()
    const position = { cid, org: 'acme', key: 'user:ada', seq: 1 }
    const at = { cid, org: 'acme', seq: 1, createdAt: new Date(), unsettled: true as const }
    await store.insert([{ ...draft('user:ada', 'hello'), ...at }])
    await sweeper.sweep(-2_000)
    expect(noted.filter((one) => one.cid.equals(cid))).toEqual([position])
  })

  test('does not wait until messages are old which its own process could not publish', async () => {
    const process = world.process()
    const cid = await world.conversation(people)
    const published = () =>
      process.events.filter((event) => event.cid === cid.toHexString()).map(({ seq }) => seq)
    process.wire.broken = true
    for (const text of ['one', 'two']) await send(process, cid, 'user:ada', text)
    await expect(process.sweeper.sweep()).rejects.toThrow('Redis is away')
    process.wire.broken = false
    await process.sweeper.sweep()
    expect(published()).toEqual([1, 2])
    await expect.poll(() => world.database.messages.countDocuments({ cid, unsettled: true })).toBe(0)
    await process.sweeper.sweep()
    expect(published()).toEqual([1, 2])
  })

  test('reads no more at once than fits in memory', async () => {
    const process = world.process()
    const cid = await world.conversation(people)
    const thinking = 'x'.repeat(5 * 1024 * 1024)
    for (const seq of [1, 2]) {
      const at = { cid, org: 'acme', seq, createdAt: new Date(), unsettled: true as const }
      await process.store.insert([{ ...draft('user:ada', `line ${seq}`), thinking, ...at }])
    }
    const published = () =>
      process.events.flatMap((event) => (event.cid === cid.toHexString() ? [event.seq] : []))
    await process.sweeper.sweep(-2_000)
    expect(published()).toEqual([1])
    await expect.poll(() => world.database.messages.countDocuments({ cid, unsettled: true })).toBe(1)
    await process.sweeper.sweep(-2_000)
    expect(published()).toEqual([1, 2])
  })

  test('publishes what could not be published, and seals what never came', async () => {
    const process = world.process()
    const cid = await world.conversation(people)
    process.wire.broken = true
    await send(process, cid, 'user:ada', 'one')
    await send(process, cid, 'user:ada', 'two')
    await process.headUpdater.flush()
    expect(await world.database.messages.countDocuments({ cid, unsettled: true })).toBe(2)
    // A process that died between two inserts left number 3 free and 4 stored.
    const orphan = {
      ...draft('user:bob', 'four'),
      cid,
      org: 'acme',
      seq: 4,
      createdAt: new Date(),
      unsettled: true as const,
    }
    await world.database.messages.insertOne(orphan)

    const other = world.process()
    await expect.poll(() => other.sweeper.sweep(-2_000)).toBeGreaterThan(0)
    expect(await world.database.conversations.findOne({ _id: cid })).toMatchObject({
      settledSeq: 4,
      messageCount: 3,
    })
    expect(
      other.events.filter((event) => event.cid === cid.toHexString()).map(({ seq, type }) => [seq, type]),
    ).toEqual([
      [1, 'message.created'],
      [2, 'message.created'],
      [3, 'message.void'],
      [4, 'message.created'],
    ])
    await expect.poll(() => world.database.messages.countDocuments({ cid, unsettled: true })).toBe(0)
    expect((await send(process, cid, 'user:ada', 'five')).row.seq).toBe(5)
  })
})

describe('pages', () => {
  test('end before a number that is not decided, and skip voids', async () => {
    const process = world.process()
    const cid = await world.conversation(people)
    for (const i of numbers(6)) await send(process, cid, 'user:ada', `line ${i}`)
    await process.store.seal({ cid, org: 'acme', seq: 7 })
    await send(process, cid, 'user:ada', 'line 8')
    await world.database.messages.insertOne({
      ...draft('user:bob', 'line 10'),
      cid,
      org: 'acme',
      seq: 10,
      createdAt: new Date(),
      unsettled: true,
    })
    const scope = { _id: cid, org: 'acme', settledSeq: 0 }
    const seqs = async (range: object, limit = 50) =>
      (await process.pages.page(scope, ['messages'], {}, range, limit)).data.map(({ seq }) => seq)
    expect(await seqs({})).toEqual([1, 2, 3, 4, 5, 6, 8])
    expect(await seqs({}, 3)).toEqual([5, 6, 8])
    expect(await seqs({ after: 5 })).toEqual([6, 8])
    expect(await seqs({ before: 4 }, 2)).toEqual([2, 3])
    expect(await seqs({ around: 4 }, 4)).toEqual([3, 4, 5, 6])
    const filled = await process.pages.fill(scope, 6, 100)
    expect(filled.messages.map(({ seq }) => seq)).toEqual([8, 10])
    expect(filled.throughSeq).toBe(10)
    expect(await seqs({ after: 5 })).toEqual([6, 8, 10])
  })

  test('walk the whole conversation in both directions', async () => {
    const process = world.process()
    const cid = await world.conversation(people)
    await Promise.all(numbers(23).map((i) => send(process, cid, 'user:ada', `line ${i}`)))
    await process.headUpdater.flush()
    const scope = { _id: cid, org: 'acme', settledSeq: 23 }
    const read = (range: object) => process.pages.page(scope, ['messages'], {}, range, 5)
    const back: number[] = []
    let page = await read({})
    for (;;) {
      back.unshift(...page.data.map(({ seq }) => seq))
      if (page.page.prevCursor === null) break
      page = await read({ cursor: page.page.prevCursor })
    }
    expect(back).toEqual(numbers(23))
    const forth: number[] = []
    for (;;) {
      forth.push(...page.data.map(({ seq }) => seq))
      if (page.page.nextCursor === null) break
      page = await read({ cursor: page.page.nextCursor })
    }
    expect(forth).toEqual(numbers(23))
    const cursor = (await read({})).page.prevCursor
    const elsewhere = { ...scope, _id: new ObjectId() }
    await expect(
      process.pages.page(elsewhere, ['messages'], {}, { cursor: cursor ?? '' }, 5),
    ).rejects.toMatchObject({
      code: 'invalid_cursor',
    })
  })
})
