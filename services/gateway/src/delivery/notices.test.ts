import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { createPeople } from '../connection/people.ts'
import type { ChatSocket } from '../sockets.ts'
import { createFakeConversation } from '../testing/fake-api.ts'
import { createNotices } from './notices.ts'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

/** Notices to Ada, who follows no conversation; `told` is what she was told: how far it is, and its last message. */
function open() {
  const told: [lastSeq: number, preview: string | undefined][] = []
  const people = createPeople()
  people.add({ data: { orgId: 'acme', key: 'user:ada' } } as ChatSocket)
  const conversation = createFakeConversation('acme', [{ type: 'user', id: 'ada' }])
  const notices = createNotices({
    people,
    rooms: { isIn: () => false },
    outbound: {
      write: (_socket, frames) => {
        for (const { text } of frames) {
          if (!text.includes('"conversation:activity"')) continue
          told.push([Number(/"lastSeq":(\d+)/.exec(text)?.[1]), /"preview":"(.*?)"/.exec(text)?.[1]])
        }
      },
    },
  })
  const { id: cid, orgId: org } = conversation
  const hear = (seq: number) => {
    const data = JSON.stringify({ ...conversation.add('hello'), seq })
    notices.activity({ type: 'message.created', at: '1-1', org, cid, seq, to: ['user:ada'], data })
  }
  const hearDeleted = (seq: number) => {
    const data = JSON.stringify({ ...conversation.add(''), seq, deletedAt: new Date(0).toISOString() })
    notices.deleted({ type: 'message.deleted', at: '1-1', org, cid, change: 1, data })
  }
  const hearRemoved = () => notices.removed(org, cid, 'user:ada')
  const hearEnded = () =>
    notices.ended({ type: 'conversation.deleted', at: '1-1', org, cid, to: ['user:ada'] })
  return { told, hear, hearDeleted, hearRemoved, hearEnded }
}

test('notices of a conversation never go back, however late an older message is published', () => {
  const { told, hear } = open()
  for (const seq of [6, 8, 7, 8, 9]) {
    hear(seq)
    vi.advanceTimersByTime(1_500)
  }
  expect(told.map(([lastSeq]) => lastSeq)).toEqual([6, 8, 9])
})

test('notices of a conversation show nothing of a message that was deleted before they could tell of it', () => {
  const { told, hear, hearDeleted } = open()
  for (const seq of [1, 2, 3]) hear(seq)
  for (const seq of [3, 2]) hearDeleted(seq)
  vi.advanceTimersByTime(1_500)
  hear(4)
  hearDeleted(3)
  vi.advanceTimersByTime(1_500)
  expect(told).toEqual([
    [1, 'hello'],
    [3, ''],
    [4, 'hello'],
  ])
})

test('notices of a conversation are at least a second apart, those that waited too', () => {
  const { told, hear } = open()
  for (const [seq, atMs] of [
    [1, 0],
    [2, 900],
    [3, 200],
    [4, 700],
  ] as const) {
    vi.advanceTimersByTime(atMs)
    hear(seq)
  }
  const seqs = () => told.map(([lastSeq]) => lastSeq)
  expect(seqs()).toEqual([1, 2])
  vi.advanceTimersByTime(200)
  expect(seqs()).toEqual([1, 2, 4])
})

test.for(['hearRemoved', 'hearEnded'] as const)(
  'whoever was told that they are out of a conversation gets no notice of it that waited (%s)',
  (hearLast) => {
    const opened = open()
    for (const seq of [1, 2]) opened.hear(seq)
    opened[hearLast]()
    vi.advanceTimersByTime(1_500)
    expect(opened.told).toEqual([[1, 'hello']])
  },
)
