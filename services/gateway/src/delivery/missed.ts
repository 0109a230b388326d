import {
  type InternalAdded,
  type InternalAddedResult,
  parseParticipantKey,
  participantKey,
} from '@parley/contract'
import type { Core } from '../services.ts'
import type { Notices } from './notices.ts'

/** Milliseconds in which losses of several streams are taken together: one wipe empties them all. */
const GATHER_MS = 200
/** Milliseconds by which the clocks of gateways and api may differ. */
const CLOCKS_MS = 10_000
const PEOPLE_AT_ONCE = 1_000

/**
 * Where events were lost, asks the api who was added to which conversations meanwhile, and tells them: a room is filled
 * by its numbers, but nobody would miss a room that they have never heard of. Some are told twice.
 */
export function createMissed(
  { api, people }: Pick<Core, 'api' | 'people'>,
  { notices, persist }: { notices: Notices; persist(work: () => Promise<void>): Promise<void> },
) {
  let since = Number.POSITIVE_INFINITY
  let timer: NodeJS.Timeout | null = null

  /** Tells those of these who have sockets here what they were added to. */
  async function ask(
    keys: Iterable<readonly [orgId: string, key: string]>,
    which: Pick<InternalAdded, 'since' | 'conversationId'>,
  ): Promise<void> {
    const present = [...keys]
      .filter(([orgId, key]) => people.of(orgId, key).size > 0)
      .map(([orgId, key]) => ({ orgId, ...parseParticipantKey(key) }))
    for (let at = 0; at < present.length; at += PEOPLE_AT_ONCE) {
      const { added } = await api.internal<InternalAddedResult>('/internal/added', {
        ...which,
        people: present.slice(at, at + PEOPLE_AT_ONCE),
      })
      for (const { participants, conversation } of added) {
        notices.addedBefore(participants.map(participantKey), conversation)
      }
    }
  }

  return {
    /** Events may be missing from then on; milliseconds since 1970. */
    note(from: number): void {
      // Whoever comes later asks for themselves.
      if (people.isEmpty()) return
      since = Math.min(since, from)
      timer ??= setTimeout(() => {
        const earliest = since - CLOCKS_MS
        since = Number.POSITIVE_INFINITY
        timer = null
        void persist(() => ask(people.all(), { since: earliest }))
      }, GATHER_MS)
    },
    /** These were added to a conversation, of which the event says no more. */
    look(orgId: string, conversationId: string, keys: readonly string[]): void {
      const added = keys.map((key) => [orgId, key] as const)
      void persist(() => ask(added, { since: 0, conversationId }))
    },
    close(): void {
      if (timer) clearTimeout(timer)
    },
  }
}
