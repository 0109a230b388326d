import { type Message, ProblemError } from '@parley/contract'
import fc from 'fast-check'
import { ObjectId } from 'mongodb'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { ada, bot, open, openConversationWorld, type Service, say } from '../conversations/testing/world.ts'

/** Sends, repeats and deletes in all. `PARLEY_MONEY_OPERATIONS=100000` is the full run. */
const OPERATIONS = Number(process.env.PARLEY_MONEY_OPERATIONS ?? 3_000)
const CONVERSATIONS = 5
const AT_ONCE = 25
/** Rounds after which new conversations are used: each round adds up all messages of the current ones. */
const ROUNDS = 40

let world: Awaited<ReturnType<typeof openConversationWorld>>
beforeAll(async () => {
  world = await openConversationWorld(inject('mongodbUri'))
})
afterAll(() => world.close())

interface Operation {
  kind: 'send' | 'repeat' | 'delete'
  conversation: number
  tokens: number
  at: number
}

const operation: fc.Arbitrary<Operation> = fc.record({
  kind: fc.constantFrom('send', 'send', 'send', 'repeat', 'delete'),
  conversation: fc.nat({ max: CONVERSATIONS - 1 }),
  tokens: fc.integer({ min: 0, max: 100_000 }),
  at: fc.nat(),
})

/** Carries out one operation; later ones repeat and delete what was sent so far. */
async function perform(service: Service, cid: string, sent: Message[], { kind, tokens, at }: Operation) {
  const earlier = sent[at % Math.max(1, sent.length)]
  if (kind === 'delete' && earlier) return service.deleteMessage(bot, earlier.id)
  const key = kind === 'repeat' && earlier ? earlier.clientMessageId : new ObjectId().toHexString()
  const usage =
    kind === 'repeat' && earlier?.usage ? earlier.usage : { inputTokens: tokens, outputTokens: at % 1_000 }
  const send = (): ReturnType<typeof service.messages.create> =>
    service.messages
      .create(bot, { conversationId: cid, role: 'assistant', content: 'counted', usage }, key ?? undefined)
      .catch(async (error: unknown) => {
        if (!(error instanceof ProblemError) || error.code !== 'agent_loop') throw error
        // Others may use up the agent messages that a person's message allows before this one has its turn.
        await say(service, ada, cid, 'go on')
        return send()
      })
  const { message, created } = await send()
  if (created) sent.push(message)
}

test(
  'totals are the sum of the messages, whatever is sent, repeated and deleted meanwhile',
  async () => {
    const services = [world.service(), world.service()] as const
    let cids: string[] = []
    let sent: Message[][] = []
    let round = 0
    await fc.assert(
      fc.asyncProperty(
        fc.array(operation, { minLength: AT_ONCE, maxLength: AT_ONCE }),
        async (operations) => {
          if (round++ % ROUNDS === 0) {
            cids = await Promise.all(
              Array.from({ length: CONVERSATIONS }, () => open(services[0], ada, { agentId: 'bot' })),
            )
            sent = cids.map(() => [])
          }
          await Promise.all(
            operations.map((next, i) => {
              const service = services[i % 2 === 0 ? 0 : 1]
              return perform(service, cids[next.conversation] ?? '', sent[next.conversation] ?? [], next)
            }),
          )
          for (const cid of cids) {
            const { usage, totalCost, messageCount } = await services[1].conversations.get(ada, cid)
            const rows = await world.database.messages
              .find({ cid: new ObjectId(cid), void: { $exists: false } })
              .toArray()
            const sum = (of: (row: (typeof rows)[number]) => number) =>
              rows.reduce((total, row) => total + of(row), 0)
            expect({ usage, totalCost, messageCount }).toEqual({
              usage: {
                inputTokens: sum((row) => ('usage' in row ? (row.usage?.inputTokens ?? 0) : 0)),
                outputTokens: sum((row) => ('usage' in row ? (row.usage?.outputTokens ?? 0) : 0)),
                totalTokens: sum((row) => ('usage' in row ? (row.usage?.totalTokens ?? 0) : 0)),
              },
              totalCost: sum((row) => ('costMicros' in row ? (row.costMicros ?? 0) : 0)) / 1e6,
              messageCount: rows.filter((row) => !('deletedAt' in row)).length,
            })
          }
        },
      ),
      { numRuns: Math.ceil(OPERATIONS / AT_ONCE), endOnFailure: true },
    )
  },
  Math.max(600_000, OPERATIONS * 20),
)
