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

/** Notices to Ada, who follows no conversation; `told` is what she heard of each message's conversation. */
function open() {
  const told: number[] = []
  const people = createPeople()
  people.add({ data: { orgId: 'acme', key: 'user:ada' } } as ChatSocket)
  const conversation = createFakeConversation('acme', [{ type: 'user', id: 'ada' }])
  const notices = createNotices({
    people,
    rooms: { isIn: () => false },
    outbound: {
      write: (_socket, frames) => {
        for (const { text } of frames) told.push(Number(/"lastSeq":(\d+)/.exec(text)?.[1]))
      },
    },
  })
  const hear = (seq: number) => {
    const data = JSON.stringify({ ...conversation.add('hello'), seq })
    const { id: cid, orgId: org } = conversation
    notices.activity({ type: 'message.created', at: '1-1', org, cid, seq, to: ['user:ada'], data })
    vi.advanceTimersByTime(1_500)
  }
  return { told, hear }
}

test('of a conversation never go back, however late an older message is published', () => {
  const { told, hear } = open()
  for (const seq of [6, 8, 7, 8, 9]) hear(seq)
  expect(told).toEqual([6, 8, 9])
})
