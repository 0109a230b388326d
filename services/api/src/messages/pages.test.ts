import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { createMessagePages } from './pages.ts'
import { draft, openWorld } from './testing/world.ts'

let world: Awaited<ReturnType<typeof openWorld>>
beforeAll(async () => {
  world = await openWorld(inject('mongodbUri'))
})
afterAll(() => world.close())

test('pages are ordered by number, whatever clocks the messages were stored by', async () => {
  const process = world.process()
  const cid = await world.conversation({ 'user:ada': 'owner' })
  const seqs = Array.from({ length: 12 }, (_, i) => i + 1)
  for (const seq of seqs) {
    await process.log.append({ org: 'acme', cid, draft: draft('user:ada', `line ${seq}`), admin: false })
    // Every other one stored by a machine whose clock is an hour behind.
    const createdAt = new Date(Date.now() - (seq % 2) * 3_600_000)
    await world.database.messages.updateOne({ cid, seq }, { $set: { createdAt } })
  }
  const scope = { _id: cid, org: 'acme', settledSeq: 0 }
  for (const range of [{}, { after: 0 }, { before: 13 }, { around: 6 }]) {
    const { data } = await process.pages.page(scope, ['messages'], {}, range, 50)
    expect(data.map(({ seq }) => seq)).toEqual(seqs)
  }
  expect((await process.pages.fill(scope, 0, 100)).messages.map(({ seq }) => seq)).toEqual(seqs)
})

test('a filtered list omits no message that was decided while it was read', async () => {
  let meanwhile: (() => Promise<unknown>) | undefined
  const process = world.process((store) => ({
    ...store,
    tails: async (...request) => {
      await meanwhile?.()
      meanwhile = undefined
      return store.tails(...request)
    },
  }))
  for (const range of [{}, { after: 0 }, { around: 2 }]) {
    const cid = await world.conversation({ 'user:ada': 'owner' })
    const rows = [1, 2, 3, 4].map((seq) => ({
      ...draft('user:ada', `line ${seq}`),
      cid,
      org: 'acme',
      seq,
      createdAt: new Date(),
      unsettled: true as const,
    }))
    await process.store.insert(rows.filter(({ seq }) => seq !== 3))
    meanwhile = () => process.store.insert(rows.filter(({ seq }) => seq === 3))
    const scope = { _id: cid, org: 'acme', settledSeq: 0 }
    const { data } = await process.pages.page(scope, ['role', 'user'], { role: 'user' }, range, 50)
    expect(data.map(({ seq }) => seq)).toEqual([1, 2, 3, 4])
  }
})

test('a page of large messages is cut, and its cursor leads to the rest', async () => {
  const process = world.process()
  const cid = await world.conversation({ 'user:ada': 'owner' })
  const pages = createMessagePages({ ...process, messages: world.database.messages, pageBytes: 60_000 })
  const thinking = 'x'.repeat(20_000)
  for (const seq of [1, 2, 3, 4, 5, 6]) {
    const message = { ...draft('user:ada', `line ${seq}`), ...(seq % 2 === 0 && { thinking }) }
    await process.log.append({ org: 'acme', cid, draft: message, admin: false })
  }
  await process.store.seal({ cid, org: 'acme', seq: 7 })
  const scope = { _id: cid, org: 'acme', settledSeq: 0 }
  const read = async (filter: object, range: object) => {
    const { data, page } = await pages.page(scope, ['messages'], filter, range, 50)
    return { seqs: data.map(({ seq }) => seq), ...page }
  }
  for (const filter of [{}, { role: 'user' }]) {
    const newest = await read(filter, {})
    expect(newest).toMatchObject({ seqs: [3, 4, 5, 6], hasMore: true, nextCursor: null })
    const older = await read(filter, { cursor: newest.prevCursor })
    expect(older).toMatchObject({ seqs: [1, 2], hasMore: false, prevCursor: null })
    const first = await read(filter, { after: 0 })
    expect(first).toMatchObject({ seqs: [1, 2, 3, 4, 5], hasMore: true, prevCursor: null })
    const rest = await read(filter, { cursor: first.nextCursor })
    expect(rest).toMatchObject({ seqs: [6], hasMore: false, nextCursor: null })
    // Half of the bytes to each side.
    const around = await read(filter, { around: 3 })
    expect(around).toMatchObject({ seqs: [1, 2, 3, 4, 5], hasMore: true, prevCursor: null })
  }
  expect((await pages.last(scope, 50)).map(({ seq }) => seq)).toEqual([3, 4, 5, 6])
})

test('an empty page leads back to what is there', async () => {
  const process = world.process()
  const cid = await world.conversation({ 'user:ada': 'owner' })
  for (const seq of [1, 2]) {
    await process.log.append({ org: 'acme', cid, draft: draft('user:ada', `line ${seq}`), admin: false })
  }
  const scope = { _id: cid, org: 'acme', settledSeq: 0 }
  const read = async (range: object) => {
    const { data, page } = await process.pages.page(scope, ['messages'], {}, range, 50)
    return { seqs: data.map(({ seq }) => seq), ...page }
  }
  const after = await read({ after: 2 })
  expect(after).toMatchObject({ seqs: [], hasMore: false, nextCursor: null })
  expect(await read({ cursor: after.prevCursor })).toMatchObject({ seqs: [1, 2] })
  const before = await read({ before: 1 })
  expect(before).toMatchObject({ seqs: [], hasMore: false, prevCursor: null })
  expect(await read({ cursor: before.nextCursor })).toMatchObject({ seqs: [1, 2] })
  expect(await read({ after: Number.MAX_SAFE_INTEGER })).toMatchObject({ seqs: [] })
  expect(await read({ after: 0 })).toMatchObject({ seqs: [1, 2], prevCursor: null })
})
