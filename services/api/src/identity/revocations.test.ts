import { createRevocationList } from '@parley/auth'
import type { PublishedEvent } from '@parley/contract'
import { afterAll, afterEach, beforeAll, expect, inject, test } from 'vitest'
import { admin, logger } from '../conversations/testing/world.ts'
import { openWorld } from '../messages/testing/world.ts'
import { createRevocations, type Revocations } from './revocations.ts'

let world: Awaited<ReturnType<typeof openWorld>>
const running: Revocations[] = []
beforeAll(async () => {
  world = await openWorld(inject('mongodbUri'))
})
afterEach(() => Promise.all(running.splice(0).map((revocations) => revocations.close())))
afterAll(() => world.close())

/** An api process, as far as revocations go; `told` lists the people it announced. */
async function startProcess({ broken = false } = {}) {
  const told: string[] = []
  const wire = { broken }
  const publisher = {
    async publish(events: readonly PublishedEvent[]) {
      if (wire.broken) throw new Error('Redis is away')
      for (const { data = '' } of events) told.push(JSON.parse(data).id)
    },
  }
  const { revocations: rows } = world.database
  const revocations = createRevocations({
    revocations: rows,
    list: createRevocationList(),
    publisher,
    logger,
  })
  running.push(revocations)
  await revocations.start()
  return { told, wire, revoke: (id: string) => revocations.revoke(admin, { type: 'user', id }) }
}
const soon = { interval: 5 }

test('a revocation that could not be announced is announced as soon as it can be', async () => {
  const { told, wire, revoke } = await startProcess({ broken: true })
  await revoke('ann')
  wire.broken = false
  await expect.poll(() => told, soon).toEqual(['ann'])
})

test('a revocation that one process cannot announce is announced by another', async () => {
  const [cutOff, other] = [await startProcess({ broken: true }), await startProcess()]
  await cutOff.revoke('ben')
  await expect.poll(() => other.told, soon).toContain('ben')
})

test('a revocation that becomes visible after a later one is announced all the same', async () => {
  const { told, revoke } = await startProcess()
  await revoke('new')
  await expect.poll(() => told, soon).toContain('new')
  await world.database.revocations.insertOne({
    _id: { org: 'acme', key: 'user:late' },
    before: 1,
    createdAt: new Date(Date.now() - 5_000),
  })
  await expect.poll(() => told, soon).toContain('late')
})

test('a process announces what the previous one could not before it ended, and nothing older', async () => {
  await (await startProcess({ broken: true })).revoke('cid')
  await world.database.revocations.insertOne({
    _id: { org: 'acme', key: 'user:old' },
    before: 1,
    createdAt: new Date(Date.now() - 600_000),
  })
  const { told } = await startProcess()
  await expect.poll(() => told, soon).toContain('cid')
  expect(told).not.toContain('old')
})
