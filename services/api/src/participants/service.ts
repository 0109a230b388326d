import {
  type AddParticipant,
  type Caller,
  LIMITS,
  type Page,
  type Participant,
  type ParticipantRef,
  type ParticipantRole,
  participantKey,
  problem,
} from '@parley/contract'
import { ObjectId } from 'mongodb'
import { recheckAllowed } from '../changes/authorize.ts'
import type { Changes } from '../changes/changes.ts'
import type { ChangeTransaction } from '../changes/transaction.ts'
import type { Collections, ParticipantDocument } from '../database/collections.ts'
import type { Profiles } from '../identity/profiles.ts'
import { keysetPage, type PageRequest } from '../keyset.ts'
import type { Access } from './access.ts'
import { minuteOf, shownAs, toParticipant } from './participant.ts'

export interface ParticipantServiceOptions {
  participants: Collections['participants']
  access: Access
  changes: Changes
  profiles: Pick<Profiles, 'of'>
}

export type ParticipantService = ReturnType<typeof createParticipantService>

/** The participants of a conversation: list, add, change a role, remove. */
export function createParticipantService(options: ParticipantServiceOptions) {
  const { participants, access, changes, profiles } = options

  return {
    /** In the order of joining. */
    async list(caller: Caller, cid: string, request: PageRequest): Promise<Page<Participant>> {
      const { head } = await access.require(caller, cid, 'participant:list')
      const { rows, page } = await keysetPage<ParticipantDocument>({
        ...request,
        list: ['participants', head._id.toHexString()],
        by: ['joinedAt', '_id'],
        order: 'rising',
        stored: (at) => new Date(at),
        positionOf: ({ joinedAt, _id }) => [joinedAt.getTime(), _id.toHexString()],
        find: (beyond, sort, limit) =>
          participants
            .find({ cid: head._id, ...beyond })
            .sort(sort)
            .limit(limit)
            .toArray(),
      })
      return { data: rows.map(toParticipant), page }
    },

    /**
     * Adds somebody with the given role, default `member`; an existing participant gets the role, if one is given.
     * @throws ProblemError not_found, forbidden, last_owner, conflict (1,000 take part already)
     */
    async add(
      caller: Caller,
      cid: string,
      { type, id, role }: AddParticipant,
    ): Promise<{ participant: Participant; created: boolean }> {
      const { head } = await access.require(caller, cid, 'participant:add')
      const key = participantKey({ type, id })
      const names = await profiles.of(head.org, [key])
      const { value } = await changes.apply(head._id, {
        by: participantKey(caller),
        async run(transaction) {
          await recheckAllowed(transaction, caller, 'participant:add')
          const present = await transaction.participant(key)
          if (present) return setRole(transaction, present, role ?? present.role)
          if (transaction.head.participantCount >= LIMITS.participants) {
            throw problem('conflict', {
              detail: `A conversation has at most ${LIMITS.participants} participants`,
            })
          }
          const row: ParticipantDocument = {
            _id: new ObjectId(),
            cid: head._id,
            org: head.org,
            key,
            role: role ?? 'member',
            ...shownAs(names.get(key)),
            joinedAt: transaction.now,
            readSeq: 0,
            activityAt: minuteOf(transaction.now),
          }
          await transaction.putParticipant(row)
          return {
            value: { row, created: true },
            effect: {
              kind: 'participant.added' as const,
              action: 'participant.add',
              participant: key,
              after: { role: row.role },
            },
          }
        },
      })
      return { participant: toParticipant(value.row), created: value.created }
    },

    /**
     * Removes a participant; everybody may always leave, except the last owner.
     * @throws ProblemError not_found (also: takes no part), forbidden, last_owner
     */
    async remove(caller: Caller, cid: string, who: ParticipantRef): Promise<void> {
      const { head } = await access.require(caller, cid, 'participant:remove', who)
      const key = participantKey(who)
      await changes.apply(head._id, {
        by: participantKey(caller),
        async run(transaction) {
          await recheckAllowed(transaction, caller, 'participant:remove', who)
          const row = await transaction.participant(key)
          if (!row) throw problem('not_found')
          if (row.role === 'owner') await assertAnotherOwner(transaction, key)
          await transaction.removeParticipant(key)
          const draft = transaction.head
          // An agent that has left needs a new auto conversation.
          if (draft.auto && key === `agent:${draft.agentId}`) delete draft.auto
          return {
            value: undefined,
            effect: {
              kind: 'participant.removed',
              action: 'participant.remove',
              participant: key,
              before: { role: row.role },
            },
          }
        },
      })
    },
  }
}

async function setRole(transaction: ChangeTransaction, present: ParticipantDocument, role: ParticipantRole) {
  if (present.role === role) return { value: { row: present, created: false } }
  if (present.role === 'owner') await assertAnotherOwner(transaction, present.key)
  const row = { ...present, role }
  await transaction.putParticipant(row)
  return {
    value: { row, created: false },
    effect: {
      kind: 'conversation.updated' as const,
      action: 'participant.role',
      participant: row.key,
      changed: ['participants' as const],
      before: { role: present.role },
      after: { role },
    },
  }
}

/** @throws ProblemError last_owner if `key` is the only one */
async function assertAnotherOwner(transaction: ChangeTransaction, key: string): Promise<void> {
  const everyone = await transaction.participants()
  if (!everyone.some((row) => row.role === 'owner' && row.key !== key)) throw problem('last_owner')
}
