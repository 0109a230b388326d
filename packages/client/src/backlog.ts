import type { JoinResult, Message } from '@parley/contract'
import type { Parley } from './client.ts'

/** How far an agent looks back for what it has not answered. */
const LOOK_BACK = 50

/**
 * What was written to an agent while it was away, ascending: of the last 50 messages those after the last one it
 * answered, or, if it never answered, those since it was added.
 */
export async function findUnanswered(
  parley: Parley,
  conversationId: string,
  joined: JoinResult,
  self: string,
): Promise<Message[]> {
  if (joined.lastSeq === 0) return []
  const { data } = await parley.messages.last(conversationId, LOOK_BACK)
  const recent = data.filter((message) => message.seq <= joined.lastSeq)
  const isMine = (message: Message) => message.participantType === 'agent' && message.participantId === self
  const parentId = recent.findLast((message) => isMine(message) && message.parentId !== null)?.parentId
  const others = recent.filter((message) => !isMine(message))
  if (parentId) {
    const answered =
      recent.find((message) => message.id === parentId) ?? (await parley.messages.get(parentId))
    return others.filter((message) => message.seq > answered.seq)
  }
  if (others.length === 0) return []
  const since = await joinedAt(parley, conversationId, self)
  return since === null ? [] : others.filter((message) => message.createdAt >= since)
}

/** When the agent began to take part, however many did before it; null: it doesn't. */
async function joinedAt(parley: Parley, conversationId: string, self: string): Promise<string | null> {
  let cursor: string | null | undefined
  do {
    const { data, page } = await parley.participants.list(conversationId, {
      limit: 100,
      ...(cursor ? { cursor } : {}),
    })
    const me = data.find(({ type, id }) => type === 'agent' && id === self)
    if (me) return me.joinedAt
    cursor = page.nextCursor
  } while (cursor)
  return null
}
