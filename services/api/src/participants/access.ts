import { authorize, type Permission } from '@parley/auth'
import { type Caller, type ParticipantRef, participantKey, problem } from '@parley/contract'
import { ObjectId } from 'mongodb'
import type { Collections, ConversationDocument, ParticipantDocument } from '../database/collections.ts'

/** A conversation that the caller may do this with, and their part in it; null: an admin who takes none. */
export interface Accessed {
  head: ConversationDocument
  membership: Pick<ParticipantDocument, 'role' | 'readSeq'> | null
}

export type Access = ReturnType<typeof createAccess>

/** The one place that decides whether a conversation exists for somebody, by the permission table. */
export function createAccess({ conversations }: Pick<Collections, 'conversations'>) {
  /** One query, the same whether the conversation exists, is another org's, or is closed to the caller. */
  async function find(org: string, key: string, cid: ObjectId): Promise<Accessed | null> {
    const [found] = await conversations
      .aggregate<ConversationDocument & { own: Pick<ParticipantDocument, 'role' | 'readSeq'>[] }>([
        { $match: { _id: cid, org, deletedAt: { $exists: false } } },
        {
          $lookup: {
            from: 'participants',
            localField: '_id',
            foreignField: 'cid',
            pipeline: [{ $match: { key } }, { $project: { _id: 0, role: 1, readSeq: 1 } }],
            as: 'own',
          },
        },
      ])
      .toArray()
    if (!found) return null
    const { own, ...head } = found
    return { head, membership: own[0] ?? null }
  }

  return {
    /**
     * @param subject whom or whose the request is about, for permissions that depend on it; see `authorize`
     * @throws ProblemError not_found, forbidden
     */
    async of(
      caller: Caller,
      cid: ObjectId | string,
      permission: Permission,
      subject?: ParticipantRef,
    ): Promise<Accessed> {
      const id = typeof cid === 'string' ? new ObjectId(cid) : cid
      const accessed = await find(caller.orgId, participantKey(caller), id)
      if (!accessed) throw problem('not_found')
      const verdict = authorize(permission, caller, accessed.membership, subject)
      if (verdict !== 'allow') throw problem(verdict)
      return accessed
    },
  }
}
