import {
  type InternalJoin,
  type InternalJoinAnswer,
  type InternalJoinResult,
  type ProblemError,
  problem,
} from '@parley/contract'
import type { CallOptions } from '@parley/service-kit'
import fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import { createJoins } from './joins.ts'

const joinOf = (id: string, conversationId = 'c'.repeat(24)): InternalJoin => ({
  caller: { type: 'user', id, orgId: 'acme', roles: [], name: null, picture: null },
  conversationId,
})
/** Names the caller and the conversation, in a field that passes through unchanged. */
const resultOf = ({ caller, conversationId }: InternalJoin): InternalJoinResult => ({
  role: 'member',
  lastSeq: 0,
  throughSeq: 0,
  changeSeq: 0,
  readSeq: 0,
  unread: 0,
  messages: [],
  changes: [],
  hasMore: false,
  receipts: [],
  members: [{ type: caller.type, id: `${caller.id} in ${conversationId}` }],
})
/** The same as part of an answer; all share one view. */
const answerOf = (join: InternalJoin): InternalJoinAnswer => {
  const { messages: _messages, receipts: _receipts, ...result } = resultOf(join)
  return { result, page: 0, read: 0 }
}
const toldTo = ({ members }: InternalJoinResult): string | undefined => members?.[0]?.id

/** An api that answers when it is told to, or at once. */
function createApi(answer: (join: InternalJoin) => InternalJoinAnswer = answerOf) {
  const calls: { path: string; size: number; key: string | undefined }[] = []
  let hold: () => Promise<void> = () => Promise.resolve()
  return {
    calls,
    before(work: () => Promise<void>): void {
      hold = work
    },
    async internal<T>(path: string, body: unknown, { key }: CallOptions = {}): Promise<T> {
      const joins =
        path === '/internal/join' ? [body as InternalJoin] : (body as { joins: InternalJoin[] }).joins
      calls.push({ path, size: joins.length, key })
      await hold()
      if (path === '/internal/join') {
        const [only] = joins
        return (only ? resultOf(only) : undefined) as T
      }
      return { pages: [[]], reads: [[]], answers: joins.map(answer) } as T
    },
  }
}

describe('joins', () => {
  it('asks at once about one that comes alone, in one call', async () => {
    const api = createApi()
    const joins = createJoins(api)
    expect(toldTo(await joins.ask(joinOf('ada')))).toBe(`ada in ${'c'.repeat(24)}`)
    expect(api.calls).toEqual([{ path: '/internal/join', size: 1, key: 'c'.repeat(24) }])
  })

  it('asks together about those of one moment, at most fifty', async () => {
    const api = createApi()
    const joins = createJoins(api)
    const names = Array.from({ length: 120 }, (_, n) => `person-${n}`)
    const results = await Promise.all(names.map((name) => joins.ask(joinOf(name))))
    expect(results.map(toldTo)).toEqual(names.map((name) => `${name} in ${'c'.repeat(24)}`))
    expect(api.calls.map(({ size }) => size)).toEqual([50, 50, 20])
  })

  it('refuses one without touching the others', async () => {
    const refused: InternalJoinAnswer = { problem: { code: 'not_found', detail: 'Not found' } }
    const joins = createJoins(createApi((join) => (join.caller.id === 'eve' ? refused : answerOf(join))))
    const [ada, eve, bob] = await Promise.allSettled(['ada', 'eve', 'bob'].map((id) => joins.ask(joinOf(id))))
    expect([ada?.status, bob?.status]).toEqual(['fulfilled', 'fulfilled'])
    expect(eve).toMatchObject({ status: 'rejected', reason: { code: 'not_found' } })
  })

  it('asks separately for what was too long to share an answer', async () => {
    const api = createApi((join) => (join.caller.id === 'ada' ? answerOf(join) : { alone: true }))
    const joins = createJoins(api)
    const results = await Promise.all(['ada', 'bob'].map((id) => joins.ask(joinOf(id))))
    expect(results.map(toldTo)).toEqual([`ada in ${'c'.repeat(24)}`, `bob in ${'c'.repeat(24)}`])
    expect(api.calls.map(({ size }) => size)).toEqual([2, 1])
  })

  it('is not held up by a call that hangs', async () => {
    const api = createApi()
    const joins = createJoins(api)
    const { promise, resolve } = Promise.withResolvers<void>()
    api.before(() => promise)
    const hanging = joins.ask(joinOf('ada'))
    await vi.waitFor(() => expect(api.calls).toHaveLength(1))
    api.before(() => Promise.resolve())
    const others = await Promise.all(['bob', 'cy'].map((id) => joins.ask(joinOf(id))))
    expect(others.map(toldTo)).toEqual([`bob in ${'c'.repeat(24)}`, `cy in ${'c'.repeat(24)}`])
    resolve()
    expect(toldTo(await hanging)).toBe(`ada in ${'c'.repeat(24)}`)
  })

  it('fails all joins of a call that failed or was cut short, and none of the next', async () => {
    const api = createApi()
    const joins = createJoins(api)
    const codes = async (ids: string[]) => {
      const settled = await Promise.allSettled(ids.map((id) => joins.ask(joinOf(id))))
      return settled.map((one) => (one.status === 'fulfilled' ? 'ok' : (one.reason as ProblemError).code))
    }
    api.before(() => Promise.reject(problem('unavailable')))
    expect(await codes(['ada', 'bob'])).toEqual(['unavailable', 'unavailable'])
    api.before(() => Promise.resolve())
    expect(await codes(['ada', 'bob'])).toEqual(['ok', 'ok'])
    const short = createJoins({ internal: async <T>() => ({ pages: [], reads: [], answers: [] }) as T })
    await expect(Promise.all(['ada', 'bob'].map((id) => short.ask(joinOf(id))))).rejects.toMatchObject({
      code: 'unavailable',
    })
  })

  it('gives each join its own answer, however calls overtake each other', async () => {
    const turns = fc.array(
      fc.record({ asks: fc.integer({ min: 0, max: 60 }), holdMs: fc.constantFrom(0, 1, 5, 30) }),
      { minLength: 1, maxLength: 6 },
    )
    await fc.assert(
      fc.asyncProperty(turns, async (plan) => {
        const api = createApi()
        const joins = createJoins(api)
        const asked: Promise<void>[] = []
        for (const { asks, holdMs } of plan) {
          api.before(() => new Promise((resolve) => setTimeout(resolve, holdMs)))
          for (let n = 0; n < asks; n++) {
            const name = `person-${asked.length}`
            const conversation = `conversation-${n % 3}`
            asked.push(
              joins.ask(joinOf(name, conversation)).then((result) => {
                expect(toldTo(result)).toBe(`${name} in ${conversation}`)
              }),
            )
          }
          await new Promise((resolve) => setImmediate(resolve))
        }
        await Promise.all(asked)
        expect(api.calls.reduce((sum, { size }) => sum + size, 0)).toBe(asked.length)
      }),
      { numRuns: 30 },
    )
  })
})
