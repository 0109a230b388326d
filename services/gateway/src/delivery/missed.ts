import {
  type InternalAdded,
  parseParticipantKey,
  participantKey,
  type Receipt,
  type RoomConversation,
} from '@parley/contract'
import type { Core } from '../services.ts'
import type { Retry } from './retry.ts'

/** Milliseconds within which losses of several streams are handled together: one wipe empties them all. */
const GATHER_MS = 200
/** Milliseconds by which the clocks of gateways and the api may differ. */
const CLOCKS_MS = 10_000
const PERSON_BATCH_SIZE = 1_000
const ROOM_BATCH_SIZE = 1_000

/**
 * After a loss of events, asks the api for what a room's numbers don't show: who was added to which conversations
 * meanwhile, since nobody would miss a room they have never heard of, and who has read how far. Some people are told
 * twice.
 */
export function createMissed(
  { api, people, rooms }: Pick<Core, 'api' | 'people' | 'rooms'>,
  {
    onAdded,
    onReceipt,
    retry,
  }: {
    /** These take part in a conversation, and may not have heard of it. */
    onAdded(keys: readonly string[], conversation: RoomConversation): void
    onReceipt(receipt: Receipt): void
    retry: Retry
  },
) {
  let since = Number.POSITIVE_INFINITY
  let timer: NodeJS.Timeout | null = null

  /** Tells those who have sockets here what they were added to. */
  async function askAdded(
    keys: Iterable<readonly [orgId: string, key: string]>,
    which: Omit<InternalAdded, 'people' | 'after'>,
  ): Promise<void> {
    const present = [...keys]
      .filter(([orgId, key]) => people.of(orgId, key).size > 0)
      .map(([orgId, key]) => ({ orgId, ...parseParticipantKey(key) }))
    for (let at = 0; at < present.length; at += PERSON_BATCH_SIZE) {
      await askAll({ ...which, people: present.slice(at, at + PERSON_BATCH_SIZE) })
    }
  }

  async function askAll(request: InternalAdded): Promise<void> {
    let after: string | undefined
    do {
      const { added, next } = await api.internal('/internal/added', {
        ...request,
        after,
      })
      for (const { participants, conversation } of added) {
        onAdded(participants.map(participantKey), conversation)
      }
      after = next
    } while (after !== undefined)
  }

  async function askReceipts(from: number): Promise<void> {
    const ids = [...rooms.all()].map(({ conversationId }) => conversationId)
    for (let at = 0; at < ids.length; at += ROOM_BATCH_SIZE) {
      const { receipts } = await api.internal('/internal/reads', {
        since: from,
        ids: ids.slice(at, at + ROOM_BATCH_SIZE),
      })
      for (const receipt of receipts) onReceipt(receipt)
    }
  }

  return {
    /** Events may be missing since then; milliseconds since 1970. */
    note(from: number): void {
      // Those who connect later fetch for themselves.
      if (people.isEmpty()) return
      since = Math.min(since, from)
      timer ??= setTimeout(() => {
        const earliest = since - CLOCKS_MS
        since = Number.POSITIVE_INFINITY
        timer = null
        void retry(() => askAdded(people.all(), { since: earliest }))
        void retry(() => askReceipts(earliest))
      }, GATHER_MS)
    },
    /** These were added to a conversation that their event does not describe. */
    lookUp(orgId: string, conversationId: string, keys: readonly string[]): void {
      const added = keys.map((key) => [orgId, key] as const)
      void retry(() => askAdded(added, { since: 0, conversationId }))
    },
    close(): void {
      if (timer) clearTimeout(timer)
    },
  }
}
