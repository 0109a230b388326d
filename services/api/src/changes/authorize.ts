import { authorize, type Permission } from '@parley/auth'
import { type Caller, type ParticipantRef, participantKey, problem } from '@parley/contract'
import type { ChangeTransaction } from './transaction.ts'

/**
 * Checks again, within the transaction, what was checked before it: a change that waited behind the removal of its
 * author must not happen.
 * @throws ProblemError not_found, forbidden
 */
export async function recheckAllowed(
  transaction: ChangeTransaction,
  caller: Caller,
  permission: Permission,
  subject?: ParticipantRef,
): Promise<void> {
  if (transaction.head.org !== caller.orgId) throw problem('not_found')
  const membership = await transaction.participant(participantKey(caller))
  const verdict = authorize(permission, caller, membership, subject)
  if (verdict !== 'allow') throw problem(verdict)
}
