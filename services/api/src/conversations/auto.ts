import type { Caller } from '@parley/contract'
import { problem } from '@parley/contract'
import type { Collections } from '../database/collections.ts'
import type { ConversationMaker } from './create.ts'
import type { ConversationReader, ReadState } from './reader.ts'

/** Milliseconds to wait for another process that is making the same one. */
const PATIENCE_MS = 10_000

export interface AutoOptions {
  conversations: Collections['conversations']
  reader: ConversationReader
  make: ConversationMaker
}

export type AutoConversations = ReturnType<typeof createAutoConversations>

/**
 * The one active conversation that an agent finds or makes. A unique index decides between processes; within one, who
 * asks at the same time gets the same answer.
 */
export function createAutoConversations({ conversations, reader, make }: AutoOptions) {
  const underWay = new Map<string, Promise<{ state: ReadState; created: boolean }>>()

  async function find(org: string, agentId: string): Promise<ReadState | null> {
    const head = await conversations.findOne({ org, agentId, auto: true })
    if (!head) return null
    const [state] = await reader.states([head], `agent:${agentId}`)
    return state ?? null
  }

  async function findOrMake(by: Caller, agentId: string): Promise<{ state: ReadState; created: boolean }> {
    const deadline = Date.now() + PATIENCE_MS
    while (Date.now() < deadline) {
      const found = await find(by.orgId, agentId)
      if (found) return { state: found, created: false }
      const made = await make({
        by,
        agentId,
        auto: true,
        participants: [{ type: 'agent', id: agentId, role: 'owner' }],
      })
      if (made) return { state: made, created: true }
      // Taken, yet not to be seen: its commit is on the way to a majority.
      await new Promise((resolve) => setTimeout(resolve, 5 + Math.random() * 20))
    }
    throw problem('unavailable', { retryAfter: 1 })
  }

  return async (by: Caller, agentId: string): Promise<{ state: ReadState; created: boolean }> => {
    const slot = JSON.stringify([by.orgId, agentId])
    const running = underWay.get(slot)
    if (running) return { ...(await running), created: false }
    const started = findOrMake(by, agentId).finally(() => underWay.delete(slot))
    underWay.set(slot, started)
    return started
  }
}
