import type { Message, ToolCall } from '@parley/contract'
import { sampleMessage } from '@parley/contract/testing'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ada } from '../conversations/testing/world.ts'
import type { ConversationDocument } from '../database/collections.ts'
import { type ContextRequest, createContext, fitting, messageTokens } from './context.ts'

const message = (seq: number, fields: Partial<Message> = {}): Message =>
  sampleMessage({ conversationId: '0'.repeat(24), seq, content: `message ${seq}`, ...fields })

const call = (id: string, result?: unknown): ToolCall => ({
  id,
  name: 'search',
  arguments: { q: id },
  ...(result === undefined ? {} : { result }),
})

const sized = (messages: Message[]) =>
  messages.map((each) => ({ message: each, tokens: messageTokens(each) }))
const seqs = (messages: Message[], budget = 1e6) =>
  fitting(sized(messages), budget).messages.map(({ seq }) => seq)

describe('a tool call', () => {
  const asking = message(2, { role: 'assistant', content: '', toolCalls: [call('a'), call('b')] })
  const first = message(3, { role: 'tool', toolCallId: 'a', content: 'first' })
  const second = message(5, { role: 'tool', toolCallId: 'b', content: 'second' })

  test('stays with all its results', () => {
    expect(seqs([message(1), asking, first, message(4), second])).toEqual([1, 2, 3, 4, 5])
  })
  test('is left out with its other results while one is missing', () => {
    expect(seqs([message(1), asking, first, message(4)])).toEqual([1, 4])
  })
  test('that contains its result needs nothing else', () => {
    expect(seqs([message(1, { toolCalls: [call('a', { ok: true })] })])).toEqual([1])
  })
  test('that is gone takes its results with it', () => {
    expect(seqs([message(1), first, second, message(6)])).toEqual([1, 6])
  })
  test('that does not fit with its results ends the context there', () => {
    const long = message(3, { role: 'tool', toolCallId: 'x', content: 'word '.repeat(500) })
    const messages = [message(1), message(2, { toolCalls: [call('x')] }), long, message(4)]
    expect(seqs(messages, 300)).toEqual([4])
  })
})

test('newest first, without a gap: an older message never replaces one that does not fit', () => {
  const messages = [message(1), message(2, { content: 'word '.repeat(500) }), message(3), message(4)]
  expect(seqs(messages, 100)).toEqual([3, 4])
})

test('never over budget, never half a tool call, always in order', () => {
  const ids = fc.constantFrom('a', 'b', 'c')
  const shapes = fc.oneof(
    fc.record({ content: fc.string({ maxLength: 200 }) }),
    fc.record({
      content: fc.string({ maxLength: 40 }),
      calls: fc.uniqueArray(ids, { minLength: 1, maxLength: 2 }),
    }),
    fc.record({ content: fc.string({ maxLength: 80 }), answers: ids }),
  )
  fc.assert(
    fc.property(fc.array(shapes, { maxLength: 25 }), fc.integer({ min: 1, max: 600 }), (list, budget) => {
      const messages = list.map((shape, i) =>
        message(i + 1, {
          content: shape.content,
          ...('calls' in shape ? { role: 'assistant', toolCalls: shape.calls.map((id) => call(id)) } : {}),
          ...('answers' in shape ? { role: 'tool', toolCallId: shape.answers } : {}),
        }),
      )
      const chosen = fitting(sized(messages), budget)
      expect(chosen.tokens).toBeLessThanOrEqual(budget)
      expect(chosen.tokens).toBe(chosen.messages.reduce((sum, each) => sum + messageTokens(each), 0))
      expect(chosen.messages).toEqual(chosen.messages.toSorted((x, y) => x.seq - y.seq))
      for (const each of chosen.messages) {
        for (const { id } of each.toolCalls) {
          expect(chosen.messages.some((other) => other.toolCallId === id && other.seq > each.seq)).toBe(true)
        }
        if (each.toolCallId !== null) {
          const asked = chosen.messages.some(
            (other) => other.seq < each.seq && other.toolCalls.some(({ id }) => id === each.toolCallId),
          )
          expect(asked).toBe(true)
        }
      }
    }),
    { numRuns: 300 },
  )
})

/** The context of a conversation that has these messages, of which the summary covers ten. */
function contextOf(messages: Message[], request: ContextRequest = {}, text?: string) {
  const context = createContext({
    access: { require: async () => ({ head: {} as ConversationDocument, role: 'member' }) },
    pages: {
      page: async (_scope, _list, _filter, _range, limit) => ({
        data: messages.slice(-limit),
        page: { nextCursor: null, prevCursor: null, hasMore: false },
      }),
    },
    reader: { standing: async () => (text === undefined ? null : { text, coversSeq: 10 }) },
  })
  return context.get(ada, '0'.repeat(24), request)
}

test('an answer that is still being written is no part of it', async () => {
  const data = [message(1), message(2, { status: 'streaming', content: 'Hel' }), message(3)]
  const { messages } = await contextOf(data)
  expect(messages.map(({ seq }) => seq)).toEqual([1, 3])
})

test('others have their turn while long messages are counted', async () => {
  const content = 'word '.repeat(13_000)
  const messages = Array.from({ length: 30 }, (_, i) =>
    message(
      i + 1,
      i < 15
        ? { content }
        : {
            toolCalls: [call('a', content)],
          },
    ),
  )
  let turns = 0
  let done = false
  const count = () => {
    turns++
    if (!done) setImmediate(count)
  }
  setImmediate(count)
  const context = await contextOf(messages, { maxTokens: 1_000_000 })
  done = true
  expect(context.messages).toHaveLength(30)
  expect(turns).toBeGreaterThan(20)
})

describe('a summary', () => {
  const summary = 'What was said so far.'

  test('makes room for the newest message, where that fits without it', async () => {
    const messages = [message(11, { content: 'word '.repeat(50) })]
    expect(await contextOf(messages, { maxTokens: 56 }, summary)).toMatchObject({
      summary: null,
      messages,
    })
  })
  test('stays where the newest message does not fit either way', async () => {
    const messages = [message(11, { content: 'word '.repeat(9_000) })]
    expect(await contextOf(messages, {}, summary)).toMatchObject({ summary, coversSeq: 10, messages: [] })
  })
  test('stays where the newest message is a tool call that has no result yet', async () => {
    const messages = [message(11), message(12, { role: 'assistant', toolCalls: [call('a')] })]
    expect(await contextOf(messages, { recent: 1 }, summary)).toMatchObject({ summary, messages: [] })
  })
})
