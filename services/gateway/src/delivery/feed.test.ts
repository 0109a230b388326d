import { type InternalFillResult, problem } from '@parley/contract'
import type { TailEvent } from '@parley/events'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { createOutbound } from '../connection/outbound.ts'
import { createFakeConversation } from '../testing/fake-api.ts'
import { createFeed } from './feed.ts'
import { createRoom } from './room.ts'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

/** The feed of a conversation from its beginning; `fetch` gives the api's answers. */
function open(fetch: () => Promise<InternalFillResult>) {
  const conversation = createFakeConversation('acme', [{ type: 'user', id: 'ada' }])
  const { id: conversationId, orgId: org } = conversation
  const counts = { gaps: 0, fills: 0, resyncs: 0, unsure: 0 }
  const none = () => undefined
  const feed = createFeed(createRoom({ conversationId, outbound: createOutbound(), onDirty: none }), {
    fetch,
    onGone: none,
    onUnsure: () => counts.unsure++,
    onSkipped: none,
    onMessage: none,
    onMessageChanged: none,
    metrics: {
      gap: () => counts.gaps++,
      fill: () => counts.fills++,
      resync: () => counts.resyncs++,
    },
  })
  feed.open({ seq: 0, stored: 0, change: 0 })
  const hear = (event: Partial<TailEvent>) => {
    feed.apply({ type: 'message.created', at: '1-1', org, cid: conversationId, ...event })
    feed.advance()
  }
  return { conversation, feed, counts, hear }
}

test('of the changes that went out while the api was asked, none counts as known that is not', async () => {
  const answered = Promise.withResolvers<InternalFillResult>()
  const { conversation, feed, counts, hear } = open(() => answered.promise)
  const message = conversation.add('edited again and again')
  hear({ seq: 1, data: JSON.stringify(message) })
  hear({ seq: 1_010, data: JSON.stringify({ ...message, seq: 1_010 }) })
  await vi.advanceTimersByTimeAsync(100)
  for (let change = 1; change <= 12; change++) {
    hear({ type: 'message.updated', change, data: JSON.stringify(conversation.edit(message)) })
  }
  answered.resolve({
    messages: [],
    changes: [],
    throughSeq: 1,
    throughChangeSeq: 10,
    lastSeq: 1_010,
    changeSeq: 10,
  })
  await vi.advanceTimersByTimeAsync(0)
  expect([counts.resyncs, feed.position()]).toEqual([1, { seq: 1_010, stored: 1_010, change: 12 }])
  expect([feed.changesSince(10), feed.changesSince(12)]).toEqual([null, []])
})

test('a room that skips events asks who may still be there', async () => {
  const nothing = { messages: [], changes: [], throughSeq: 0, throughChangeSeq: 0 }
  const { counts, hear } = open(() => Promise.resolve({ ...nothing, lastSeq: 1_001, changeSeq: 0 }))
  hear({ seq: 1_001 })
  await vi.advanceTimersByTimeAsync(0)
  expect(counts).toMatchObject({ resyncs: 1, unsure: 1 })
})

test('an api that is away is asked no more often however many events come without data, and it is one gap', async () => {
  const { counts, hear } = open(() => Promise.reject(problem('unavailable')))
  hear({ seq: 2, data: '{}' })
  for (let seq = 3; seq <= 52; seq++) {
    hear({ seq })
    await vi.advanceTimersByTimeAsync(20)
  }
  expect(counts.fills).toBeLessThan(8)
  expect(counts.gaps).toBe(1)
})
