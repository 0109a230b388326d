import type { Caller } from '@parley/contract'
import type { Collections } from '../database/collections.ts'
import type { ConversationMaker } from './create.ts'
import { findOrMake } from './find-or-make.ts'
import type { ConversationReader, ReadState } from './reader.ts'

export interface AutoOptions {
  conversations: Collections['conversations']
  reader: ConversationReader
  make: ConversationMaker
}

export type AutoConversations = ReturnType<typeof createAutoConversations>

/**
 * The one active conversation that an agent finds or makes. A unique index decides between processes; within one,
 * simultaneous callers share an answer.
 */
export function createAutoConversations({ conversations, reader, make }: AutoOptions) {
  const underWay = new Map<string, Promise<{ state: ReadState; created: boolean }>>()

  async function find(org: string, agentId: string): Promise<ReadState | null> {
    const head = await conversations.findOne({ org, agentId, auto: true })
    if (!head) return null
    const [state] = await reader.states([head], `agent:${agentId}`)
    return state ?? null
  }

  async function ask(by: Caller, agentId: string): Promise<{ state: ReadState; created: boolean }> {
    const { value: state, created } = await findOrMake(
      () => find(by.orgId, agentId),
      () =>
        make({
          by,
          agentId,
          auto: true,
          participants: [{ type: 'agent', id: agentId, role: 'owner' }],
        }),
    )
    return { state, created }
  }

  return async (by: Caller, agentId: string): Promise<{ state: ReadState; created: boolean }> => {
    const slot = JSON.stringify([by.orgId, agentId])
    // What began before this call may have found one that was closed before it.
    await underWay.get(slot)?.catch(() => undefined)
    const shared = underWay.get(slot)
    if (shared) return { ...(await shared), created: false }
    const started = ask(by, agentId).finally(() => underWay.delete(slot))
    underWay.set(slot, started)
    return started
  }
}
