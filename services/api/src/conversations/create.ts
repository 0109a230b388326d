import {
  type Caller,
  type CreateConversation,
  type ParticipantRef,
  type ParticipantRole,
  participantKey,
} from '@parley/contract'
import { type MongoClient, ObjectId } from 'mongodb'
import type {
  Collections,
  ConversationDocument,
  OutboxDocument,
  ParticipantDocument,
} from '../database/collections.ts'
import { isDuplicateKey } from '../database/duplicate-key.ts'
import { transact } from '../database/transaction.ts'
import type { Profiles } from '../identity/profiles.ts'
import { emptyFold } from '../messages/fold.ts'
import { minuteOf, type Shown, shownAs } from '../participants/participant.ts'
import type { Outbox } from '../publishing/outbox.ts'
import type { ReadState } from './reader.ts'

export interface NewConversation extends Omit<CreateConversation, 'participants'> {
  by: Caller
  /** In the order of joining; for a key given twice, the first counts. */
  participants: readonly (ParticipantRef & { role: ParticipantRole })[]
  auto?: true
}

export interface MakerOptions {
  client: MongoClient
  rows: Collections
  profiles: Pick<Profiles, 'of'>
  outbox: Outbox
}

export type ConversationMaker = ReturnType<typeof createConversationMaker>

/** Stores new conversations with their participants, all or nothing. */
export function createConversationMaker({ client, rows, profiles, outbox }: MakerOptions) {
  /** Resolves to null if `externalId`, or the agent's one auto conversation, is taken. */
  return async (wanted: NewConversation): Promise<ReadState | null> => {
    const { by, title, description, agentId, tags, metadata, externalId, auto } = wanted
    const now = new Date()
    const cid = new ObjectId()
    const org = by.orgId
    const creator = participantKey(by)
    const roles = new Map<string, ParticipantRole>()
    for (const participant of wanted.participants) {
      const key = participantKey(participant)
      if (!roles.has(key)) roles.set(key, participant.role)
    }
    const others = [...roles.keys()].filter((key) => key !== creator)
    const names = others.length > 0 ? await profiles.of(org, others) : new Map<string, Shown>()
    names.set(creator, by)
    const participants = Array.from(
      roles,
      ([key, role]): ParticipantDocument => ({
        _id: new ObjectId(),
        cid,
        org,
        key,
        role,
        ...shownAs(names.get(key)),
        joinedAt: now,
        readSeq: 0,
        activityAt: minuteOf(now),
      }),
    )
    const head: ConversationDocument = {
      _id: cid,
      org,
      title: title ?? '',
      tags: tags ?? [],
      metadata: metadata ?? {},
      status: 'active',
      participantCount: participants.length,
      membersRev: new ObjectId(),
      ...emptyFold,
      changeSeq: 0,
      ownChangeSeq: 0,
      contentRev: 0,
      summaryCoversSeq: 0,
      createdAt: now,
      createdBy: creator,
      updatedAt: now,
      updatedBy: creator,
    }
    if (externalId !== undefined) head.externalId = externalId
    if (description) head.description = description
    if (agentId !== undefined) head.agentId = agentId
    if (auto) head.auto = auto

    const event: OutboxDocument = {
      _id: new ObjectId(),
      cid,
      org,
      change: 0,
      type: 'conversation.created',
      createdAt: now,
      to: participants.map(({ key }) => key),
    }

    try {
      await transact(client, async (session) => {
        await rows.conversations.insertOne(head, { session })
        await rows.participants.insertMany(participants, { session })
        await rows.audit.insertOne(
          {
            _id: new ObjectId(),
            cid,
            org,
            changeSeq: 0,
            at: now,
            by: creator,
            action: 'conversation.create',
            before: {},
            after: { participants: Array.from(roles, ([key, role]) => ({ key, role })) },
          },
          { session },
        )
        await rows.outbox.insertOne(event, { session })
      })
    } catch (error) {
      if (isDuplicateKey(error)) return null
      throw error
    }
    outbox.publish([event])
    return { head, shown: participants, own: participants.find(({ key }) => key === creator) ?? null }
  }
}
