import fc from 'fast-check'
import { ObjectId } from 'mongodb'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { isVoid, type MessageRow } from '../database/collections.ts'
import { statistics } from './statistics.ts'
import { openWorld } from './testing/world.ts'

let world: Awaited<ReturnType<typeof openWorld>>
beforeAll(async () => {
  world = await openWorld(inject('mongodbUri'))
})
afterAll(() => world.close())

const message = fc.record({
  author: fc.constantFrom('user:ada', 'user:bob', 'agent:helper'),
  role: fc.constantFrom('user', 'assistant', 'tool'),
  type: fc.constantFrom('text', 'image'),
  costMicros: fc.option(fc.nat(1_000), { nil: undefined }),
  usage: fc.option(
    fc.record({ inputTokens: fc.nat(50), outputTokens: fc.nat(50), totalTokens: fc.nat(100) }),
    { nil: undefined },
  ),
  attachments: fc.option(fc.array(fc.constant('document:x'), { minLength: 1, maxLength: 3 }), {
    nil: undefined,
  }),
  at: fc.nat(1_000_000),
  deleted: fc.boolean(),
})
const rows = fc.array(fc.option(message, { nil: 'void' as const, freq: 8 }), { maxLength: 12 })

test('statistics are what one gets by counting messages one by one', async () => {
  await fc.assert(
    fc.asyncProperty(rows, fc.nat(12), async (list, throughSeq) => {
      const cid = new ObjectId()
      const stored = list.map((entry, index): MessageRow => {
        const base = { _id: new ObjectId(), cid, org: 'acme', seq: index + 1 }
        if (entry === 'void') return { ...base, void: true }
        const { at, deleted, costMicros, usage, attachments, ...rest } = entry
        return {
          ...base,
          ...rest,
          status: 'sent',
          content: 'x',
          createdAt: new Date(at),
          ...(costMicros !== undefined && { costMicros }),
          ...(usage && { usage }),
          ...(attachments && { attachments }),
          ...(deleted && { deletedAt: new Date(at + 1) }),
        }
      })
      if (stored.length > 0) await world.database.messages.insertMany(stored)
      const counted = await statistics(world.database.messages, cid, throughSeq)
      const { byParticipant, ...whole } = counted
      const all = stored.filter((row) => !isVoid(row)).filter(({ seq }) => seq <= throughSeq)
      expect(whole).toEqual(count(all))
      expect(byParticipant.map(({ messages }) => messages)).toEqual(
        byParticipant.map(({ messages }) => messages).sort((a, b) => b - a),
      )
      expect(byParticipant.map(({ type, id }) => `${type}:${id}`).sort()).toEqual(
        [...new Set(all.map(({ author }) => author))].sort(),
      )
      for (const { type, id, ...figures } of byParticipant) {
        const own = count(all.filter(({ author }) => author === `${type}:${id}`))
        expect(figures).toEqual({ messages: own.total, tokens: own.tokens.total, cost: own.cost })
      }
    }),
    { numRuns: 100 },
  )
})

function count(all: readonly Exclude<MessageRow, { void: true }>[]) {
  const live = all.filter(({ deletedAt }) => !deletedAt)
  const sum = (of: (row: (typeof all)[number]) => number | undefined) =>
    all.reduce((total, row) => total + (of(row) ?? 0), 0)
  const tally = (names: readonly string[]) =>
    Object.fromEntries(
      [...new Set(names)].map((name) => [name, names.filter((other) => other === name).length]),
    )
  const times = live.map(({ createdAt }) => createdAt.toISOString()).sort()
  return {
    total: live.length,
    byRole: tally(live.map(({ role }) => role)),
    byType: tally(live.map(({ type }) => type)),
    tokens: {
      input: sum(({ usage }) => usage?.inputTokens),
      output: sum(({ usage }) => usage?.outputTokens),
      total: sum(({ usage }) => usage?.totalTokens),
    },
    cost: sum(({ costMicros }) => costMicros) / 1e6,
    withAttachments: live.filter(({ attachments }) => attachments).length,
    attachments: live.reduce((total, { attachments }) => total + (attachments?.length ?? 0), 0),
    firstAt: times[0] ?? null,
    lastAt: times.at(-1) ?? null,
  }
}
