import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { draft, openWorld } from './testing/world.ts'

let world: Awaited<ReturnType<typeof openWorld>>
beforeAll(async () => {
  world = await openWorld(inject('mongodbUri'))
})
afterAll(() => world.close())

test('pages go by number, whatever the clocks of those who stored the messages said', async () => {
  const process = world.process()
  const cid = await world.conversation({ 'user:ada': 'owner' })
  const seqs = Array.from({ length: 12 }, (_, i) => i + 1)
  for (const seq of seqs) {
    await process.log.append({ org: 'acme', cid, draft: draft('user:ada', `line ${seq}`), admin: false })
    // Every other one by a machine whose clock is an hour behind.
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
