import type { JoinResult, Message, Page, Participant } from '@parley/contract'
import type { Parley } from './client.ts'

/** How far an agent looks back for what it has not answered. */
const LOOK_BACK = 50

/** Most answers begun to one message: one that crashes its agent would otherwise come round for ever. */
const TRIES = 3

export interface Unanswered {
  messages: Message[]
  /** How many answers to a message have failed, by its id. */
  failures: ReadonlyMap<string, number>
}

/**
 * What was written to an agent while it was away, ascending: of the last 50 messages those after the last one it
 * answered, including that one if its answer was cut short; or, if it never answered, those since it was added.
 */
export async function findUnanswered(
  parley: Parley,
  conversationId: string,
  joined: JoinResult,
  self: string,
): Promise<Unanswered> {
  const failures = new Map<string, number>()
  if (joined.lastSeq === 0) return { messages: [], failures }
  const { data } = await parley.messages.last(conversationId, LOOK_BACK)
  const recent = data.filter((message) => message.seq <= joined.lastSeq)
  const isMine = (message: Message) => message.participantType === 'agent' && message.participantId === self
  const parentId = recent.findLast((message) => isMine(message) && message.parentId !== null)?.parentId
  const others = recent.filter((message) => !isMine(message))
  if (parentId) {
    const answered =
      recent.find((message) => message.id === parentId) ?? (await parley.messages.get(parentId))
    const answers = recent.filter((message) => isMine(message) && message.parentId === parentId)
    const failed = answers.filter(({ status }) => status === 'failed').length
    const open = answers.filter(({ status }) => status === 'streaming').length
    failures.set(parentId, failed)
    const again = failed + open === answers.length && failed < TRIES
    const after = again ? answered.seq - 1 : answered.seq
    return { messages: others.filter((message) => message.seq > after), failures }
  }
  if (others.length === 0) return { messages: [], failures }
  const since = await joinedAt(parley, conversationId, self)
  if (since === null) return { messages: [], failures }
  // Who is there from the beginning sees all. Only else are the clocks of two api processes compared.
  const { createdAt } = await parley.conversations.get(conversationId)
  const messages = others.filter((message) => since <= createdAt || message.createdAt >= since)
  return { messages, failures }
}

/** When the agent began to take part, however many did before it; null: it doesn't. */
async function joinedAt(parley: Parley, conversationId: string, self: string): Promise<string | null> {
  let cursor: string | null = null
  do {
    const { data, page }: Page<Participant> = await parley.participants.list(conversationId, {
      limit: 100,
      cursor,
    })
    const me = data.find(({ type, id }) => type === 'agent' && id === self)
    if (me) return me.joinedAt
    cursor = page.nextCursor
  } while (cursor !== null)
  return null
}
