import type { InternalAdded, InternalAddedResult } from '@parley/contract'
import { expect, test, vi } from 'vitest'
import { createPeople } from '../connection/people.ts'
import type { ChatSocket } from '../sockets.ts'
import { createFakeApi, createFakeConversation } from '../testing/fake-api.ts'
import { createMissed } from './missed.ts'
import { createRooms } from './rooms.ts'

test('people added are told of every conversation, however many answers that takes', async () => {
  const ada = { type: 'user', id: 'ada' } as const
  const conversations = Array.from({ length: 3 }, () => createFakeConversation('acme', [ada]))
  const api = {
    ...createFakeApi().api,
    internal: async (_path: string, body: unknown) => {
      const { after } = body as InternalAdded
      const place = conversations.findIndex(({ id }) => id === after) + 1
      const conversation = conversations[place]
      const answer: InternalAddedResult = {
        added: conversation ? [{ conversation: conversation.view(), participants: [ada] }] : [],
        ...(conversation && { next: conversation.id }),
      }
      return answer as never
    },
  }
  const people = createPeople()
  people.add({ data: { orgId: 'acme', key: 'user:ada' } } as ChatSocket)
  const told: string[] = []
  const missed = createMissed(
    { api, people, rooms: createRooms({ outbound: {} as never }) },
    {
      onAdded: (_keys, { id }) => void told.push(id),
      onReceipt: () => undefined,
      retry: (work) => work(),
    },
  )
  missed.note(Date.now())
  await vi.waitFor(() => expect(told).toEqual(conversations.map(({ id }) => id)))
  missed.close()
})
