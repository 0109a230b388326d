import { authorize, type Permission } from '@parley/auth'
import {
  type Caller,
  type ParticipantRef,
  type ParticipantRole,
  participantKey,
  problem,
} from '@parley/contract'
import { ObjectId } from 'mongodb'
import type { Collections, ConversationDocument } from '../database/collections.ts'
import { createHeads } from './heads.ts'
import type { Roles } from './roles.ts'

/** A conversation that the caller has permission for, and their row; null: an admin who takes no part. */
export interface Accessed {
  head: ConversationDocument
  role: ParticipantRole | null
}

export type Access = ReturnType<typeof createAccess>

/** The one place that decides whether a conversation exists for somebody, by the permission table. */
export function createAccess({
  conversations,
  roles,
}: Pick<Collections, 'conversations'> & { roles: Roles }) {
  const headOf = createHeads({ conversations })

  /**
   * The head, and the caller's role from memory. A caller who takes no part is looked up each time, even if there is no
   * conversation: the queries are the same whether it exists, is another org's, or is closed to the caller.
   */
  async function find(org: string, key: string, cid: ObjectId): Promise<Accessed | null> {
    const head = await headOf(org, cid)
    const membersRev = head?.membersRev ?? new ObjectId()
    if (!roles.known(membersRev, key)) await roles.load([{ cid, membersRev, key }])
    return head && { head, role: roles.known(membersRev, key) ?? null }
  }

  return {
    /**
     * @param subject the person concerned, for permissions that depend on it; see `authorize`
     * @throws ProblemError not_found, forbidden
     */
    async require(
      caller: Caller,
      cid: ObjectId | string,
      permission: Permission,
      subject?: ParticipantRef,
    ): Promise<Accessed> {
      const id = typeof cid === 'string' ? new ObjectId(cid) : cid
      const accessed = await find(caller.orgId, participantKey(caller), id)
      if (!accessed) throw problem('not_found')
      const verdict = authorize(permission, caller, accessed.role && { role: accessed.role }, subject)
      if (verdict !== 'allow') throw problem(verdict)
      return accessed
    },
  }
}
