import type { Stack } from '@parley/devstack'
import { ORG } from './chats.ts'
import { createHttpClient } from './load.ts'
import { each, openRawClient, type RawClient } from './raw-client.ts'

/** Ten people to a conversation. */
export const ROOM = 10

/** Conversations of ten, and a token for everybody in them. */
export async function createCrowd(stack: Stack, people: number) {
  const http = createHttpClient(stack.apiUrl, 32)
  const tokens = Array.from({ length: people }, (_, index) =>
    stack.token({ sub: `person-${index}`, orgId: ORG, expiresIn: 7_200 }),
  )
  const ids = new Array<string>(Math.ceil(people / ROOM))
  await each(ids.length, 32, async (index) => {
    const participants = Array.from({ length: ROOM - 1 }, (_, n) => ({
      type: 'user',
      id: `person-${index * ROOM + n + 1}`,
    }))
    const made = await http.call('POST', '/conversations', tokens[index * ROOM] ?? '', { participants }, 201)
    ids[index] = (JSON.parse(made) as { id: string }).id
  })
  await http.close()
  return { tokens, idOf: (person: number): string => ids[Math.floor(person / ROOM)] ?? '' }
}

export type Crowd = Awaited<ReturnType<typeof createCrowd>>

/** Lets so many connect, `width` at a time; each joins its room if asked to. */
export async function arrive(
  url: string,
  crowd: Crowd,
  people: number,
  {
    width = 64,
    join = true,
    afterSeq,
    onRefused,
  }: { width?: number; join?: boolean; afterSeq?: number | undefined; onRefused?: () => void } = {},
): Promise<RawClient[]> {
  const clients: RawClient[] = []
  await each(people, width, async (person) => {
    const client = await admitted(url, crowd.tokens[person] ?? '', onRefused)
    clients.push(client)
    if (!join) return
    const answer = await client.request('conversation:join', {
      conversationId: crowd.idOf(person),
      ...(afterSeq === undefined ? {} : { afterSeq, afterChangeSeq: 0 }),
    })
    if (!answer.ok) throw new Error(`join refused: ${JSON.stringify(answer.body())}`)
  })
  return clients
}

/** Comes back when it is asked to. */
async function admitted(url: string, token: string, onRefused?: () => void): Promise<RawClient> {
  for (;;) {
    try {
      return await openRawClient(url, { token })
    } catch (error) {
      if (!(error instanceof Error) || !error.message.includes('overloaded')) throw error
      onRefused?.()
      await new Promise((resolve) => setTimeout(resolve, 500 + Math.random() * 1_000))
    }
  }
}

/** Milliseconds after which a gateway has told of those who left: the next round would pay for it. */
const GONE_MS = 3_000

/** Hangs up, and waits until the server is done with it. */
export async function depart(clients: readonly RawClient[]): Promise<void> {
  for (const client of clients) client.close()
  await new Promise((resolve) => setTimeout(resolve, GONE_MS + clients.length / 5))
}

export const UNLIMITED = { RATE_LIMIT_CONNECT: '0', RATE_LIMIT_EVENTS: '0', RATE_LIMIT_REST: '0' }
