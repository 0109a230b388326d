import type { Stack } from '@parley/devstack'
import { closedLoop, type HttpClient } from './load.ts'
import { TEXT } from './stream.ts'

export const ORG = 'bench'

/** Senders and the conversations that each may send into. */
export interface Chats {
  tokens: string[]
  /** Conversation ids. */
  ids: string[]
  /** The conversation that a sender's turn goes to. */
  at(sender: number, turn: number): string
  /** Participants of a conversation, as indexes of senders. */
  members(index: number): number[]
}

/** Assigns senders to conversations, so that each takes part in all it sends to and nobody in more than needed. */
export function plan(
  stack: Stack,
  senders: number,
  conversations: number,
): Omit<Chats, 'ids'> & { count: number } {
  const indexAt = (sender: number, turn: number): number =>
    conversations <= senders
      ? sender % conversations
      : (sender + senders * (turn % Math.floor(conversations / senders))) % conversations
  return {
    count: conversations,
    tokens: Array.from({ length: senders }, (_, sender) =>
      stack.token({ sub: `sender-${sender}`, type: 'user', orgId: ORG, expiresIn: 7_200 }),
    ),
    at: (sender, turn) => String(indexAt(sender, turn)),
    members: (index) =>
      conversations <= senders
        ? Array.from({ length: senders }, (_, sender) => sender).filter(
            (sender) => sender % conversations === index,
          )
        : [index % senders],
  }
}

/** Makes the conversations through the public API. */
export async function createChats(
  http: HttpClient,
  stack: Stack,
  senders: number,
  conversations: number,
): Promise<Chats> {
  const { tokens, at, members } = plan(stack, senders, conversations)
  const ids = new Array<string>(conversations)
  let next = 0
  await Promise.all(
    Array.from({ length: Math.min(16, conversations) }, async () => {
      while (next < conversations) {
        const index = next++
        const own = members(index)
        const owner = tokens[own[0] ?? 0] ?? ''
        const others = own.slice(1).map((sender) => ({ type: 'user', id: `sender-${sender}` }))
        const made = await http.call(
          'POST',
          '/conversations',
          owner,
          { participants: others.slice(0, 100) },
          201,
        )
        const { id } = JSON.parse(made) as { id: string }
        for (const participant of others.slice(100)) {
          await http.call('POST', `/conversations/${id}/participants`, owner, participant, 201)
        }
        ids[index] = id
      }
    }),
  )
  return { tokens, ids, members, at: (sender, turn) => ids[Number(at(sender, turn))] ?? '' }
}

/** Messages per second, `senders` at once, for `ms`. Every message has a key, as a client's has. */
export async function sendLoop(http: HttpClient, chats: Chats, senders: number, ms: number) {
  const run = Math.random().toString(36).slice(2)
  return closedLoop(senders, ms, async (sender, turn) => {
    await http.call(
      'POST',
      '/messages',
      chats.tokens[sender] ?? '',
      {
        conversationId: chats.at(sender, turn),
        role: 'user',
        content: TEXT,
        clientMessageId: `${run}-${sender}-${turn}`,
      },
      201,
    )
  })
}
