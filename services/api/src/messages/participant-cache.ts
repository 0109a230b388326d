import { LIMITS } from '@parley/contract'
import { LRUCache } from 'lru-cache'
import type { ObjectId } from 'mongodb'
import type { Collections } from '../database/collections.ts'
import type { Roles } from '../participants/roles.ts'

/** Most conversations whose list of participants is kept; the least recently used go first. */
const MAX_CONVERSATIONS = 20_000

interface Wanted {
  cid: ObjectId
  membersRev: ObjectId
  participantCount: number
  authors: readonly string[]
}

export type ParticipantCache = ReturnType<typeof createParticipantCache>

/**
 * What the message log must know about participants: the roles of authors, and, in conversations of up to 50,
 * everyone's keys, which go out with the event. Both under `membersRev`, so a quiet conversation is read once.
 */
export function createParticipantCache({
  participants,
  roles,
}: {
  participants: Collections['participants']
  roles: Roles
}) {
  const recipients = new LRUCache<string, string[]>({ max: MAX_CONVERSATIONS })
  const known = (membersRev: ObjectId): string[] | undefined => recipients.get(membersRev.toHexString())
  const isSmall = (wanted: Wanted): boolean => wanted.participantCount <= LIMITS.recipientsNamed
  const isKnown = (wanted: Wanted): boolean =>
    (!isSmall(wanted) || known(wanted.membersRev) !== undefined) &&
    // Who takes no part is never known, and so looked up each time, as where there is no conversation.
    wanted.authors.every((key) => roles.known(wanted.membersRev, key))

  return {
    /** Loads {@link ParticipantCache.recipients} and the authors' roles. At most two reads, none when warm. */
    async load(wanted: readonly Wanted[]): Promise<void> {
      const unknown = wanted.filter((conversation) => !isKnown(conversation))
      if (unknown.length === 0) return
      const small = unknown.filter(isSmall)
      const large = unknown.filter((conversation) => !isSmall(conversation))
      const [rows] = await Promise.all([
        small.length === 0
          ? []
          : participants
              .find(
                { cid: { $in: small.map(({ cid }) => cid) } },
                { projection: { _id: 0, cid: 1, key: 1, role: 1 } },
              )
              .toArray(),
        roles.load(
          large.flatMap(({ cid, membersRev, authors }) => authors.map((key) => ({ cid, membersRev, key }))),
        ),
      ])
      const byConversation = Map.groupBy(rows, ({ cid }) => cid.toHexString())
      for (const { cid, membersRev } of small) {
        const everyone = byConversation.get(cid.toHexString())
        // There is no such conversation: nothing is kept of it.
        if (!everyone) continue
        for (const { key, role } of everyone) roles.keep(membersRev, key, role)
        recipients.set(
          membersRev.toHexString(),
          everyone.map(({ key }) => key),
        )
      }
    },

    /** Everyone's keys; undefined for large conversations, and if {@link ParticipantCache.load} was not called. */
    recipients: known,
    role: roles.known,
  }
}
