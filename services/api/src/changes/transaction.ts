import { type AnyBulkWriteOperation, type ClientSession, ObjectId } from 'mongodb'
import {
  type Collections,
  type ConversationDocument,
  isVoid,
  type MessageDocument,
  type ParticipantDocument,
} from '../database/collections.ts'
import { byJoining } from '../participants/participant.ts'

type Rows = Pick<Collections, 'conversations' | 'messages' | 'participants'>

/**
 * What a change sees and edits: drafts of one conversation's documents, with the edits of the changes before it in the
 * same transaction. A change assigns fields of the drafts (nested values are replaced, never edited in place) and
 * throws to leave everything as it was.
 */
export interface ChangeTransaction {
  readonly session: ClientSession
  readonly now: Date
  /** Draft of the head. Always written, so that any other change to it collides. */
  readonly head: ConversationDocument
  /** Draft of a message of this conversation; null if there is none. */
  message(id: ObjectId): Promise<MessageDocument | null>
  /** Draft of a participant; null if not one. */
  participant(key: string): Promise<ParticipantDocument | null>
  /** Everyone, at most 1,000, in the order of joining. */
  participants(): Promise<ParticipantDocument[]>
  /** Stores a participant, new or changed; updates the count and renews `membersRev`. */
  putParticipant(row: ParticipantDocument): Promise<void>
  removeParticipant(key: string): Promise<void>
}

interface Drafts {
  head: ConversationDocument
  messages: Map<string, MessageDocument>
  participants: Map<string, ParticipantDocument | null>
}

const copyAll = <V extends object | null>(rows: Map<string, V>): Map<string, V> =>
  new Map(Array.from(rows, ([key, row]) => [key, row && { ...row }]))

const copyOf = ({ head, messages, participants }: Drafts): Drafts => ({
  head: { ...head },
  messages: copyAll(messages),
  participants: copyAll(participants),
})

function differs(a: object, b: object): boolean {
  const [ours, theirs] = [new Map(Object.entries(a)), new Map(Object.entries(b))]
  return ours.size !== theirs.size || [...ours].some(([key, value]) => !Object.is(value, theirs.get(key)))
}

/** A new participant's row says whether the conversation is active, as all do. */
const asAdded = (
  row: ParticipantDocument,
  { status, changeSeq }: ConversationDocument,
): ParticipantDocument => ({
  ...row,
  statusSeq: changeSeq,
  ...(status === 'active' ? {} : { inactive: true }),
})

export type UnitOfWork = Awaited<ReturnType<typeof openUnitOfWork>>

/** Opens the drafts of one conversation in a transaction; null if it does not exist or was deleted. */
export async function openUnitOfWork(rows: Rows, session: ClientSession, cid: ObjectId, now: Date) {
  const found = await rows.conversations.findOne({ _id: cid }, { session })
  if (!found || found.deletedAt) return null

  const stored = {
    messages: new Map<string, MessageDocument>(),
    participants: new Map<string, ParticipantDocument>(),
  }
  const wasActive = found.status === 'active'
  let everyoneRead = false
  let drafts: Drafts = { head: found, messages: new Map(), participants: new Map() }

  function keepParticipant(row: ParticipantDocument): void {
    if (!stored.participants.has(row.key)) stored.participants.set(row.key, { ...row })
    if (!drafts.participants.has(row.key)) drafts.participants.set(row.key, row)
  }

  /**
   * Has everybody's row say whether the conversation is active. Outside the transaction, with which every read position
   * written meanwhile would collide: before a reopening is committed and after a closing, so that no row of an active
   * one is ever left inactive; a row that knows of a later change is left alone.
   */
  async function markRows({ status, changeSeq }: ConversationDocument): Promise<void> {
    await rows.participants.updateMany(
      { cid, statusSeq: { $not: { $gt: changeSeq } } },
      status === 'active'
        ? { $unset: { inactive: true }, $set: { statusSeq: changeSeq } }
        : { $set: { inactive: true, statusSeq: changeSeq } },
    )
  }

  const transaction: ChangeTransaction = {
    session,
    now,
    get head() {
      return drafts.head
    },

    async message(id) {
      const name = id.toHexString()
      const known = drafts.messages.get(name)
      if (known) return known
      const row = await rows.messages.findOne({ _id: id, cid }, { session })
      if (!row || isVoid(row)) return null
      if (!stored.messages.has(name)) stored.messages.set(name, { ...row })
      drafts.messages.set(name, row)
      return row
    },

    async participant(key) {
      const known = drafts.participants.get(key)
      if (known !== undefined || everyoneRead) return known ?? null
      const row = await rows.participants.findOne({ cid, key }, { session })
      if (row) keepParticipant(row)
      else drafts.participants.set(key, null)
      return row
    },

    async participants() {
      if (!everyoneRead) {
        for (const row of await rows.participants.find({ cid }, { session }).toArray()) keepParticipant(row)
        everyoneRead = true
      }
      return [...drafts.participants.values()].filter((row) => row !== null).sort(byJoining)
    },

    async putParticipant(row) {
      const before = await transaction.participant(row.key)
      if (!before) drafts.head.participantCount++
      drafts.head.membersRev = new ObjectId()
      drafts.participants.set(row.key, row)
    },

    async removeParticipant(key) {
      if (!(await transaction.participant(key))) return
      drafts.head.participantCount--
      drafts.head.membersRev = new ObjectId()
      drafts.participants.set(key, null)
    },
  }

  return {
    transaction,

    /** A message's draft, if one was asked for. */
    draft: (id: ObjectId): MessageDocument | undefined => drafts.messages.get(id.toHexString()),

    /** Runs one change's edits; if it throws, the drafts are as before. */
    async attempt<T>(edit: () => Promise<T>): Promise<T> {
      const before = copyOf(drafts)
      const everyoneReadBefore = everyoneRead
      try {
        return await edit()
      } catch (error) {
        drafts = before
        everyoneRead = everyoneReadBefore
        throw error
      }
    },

    /** Writes what differs from what was read. */
    async write(): Promise<void> {
      const { head, messages, participants } = drafts
      const isActive = head.status === 'active'
      if (isActive && !wasActive) await markRows(head)
      await rows.conversations.replaceOne({ _id: cid }, head, { session })

      const changedMessages = [...messages].flatMap(([name, row]) => {
        const before = stored.messages.get(name)
        return before && differs(before, row)
          ? [{ replaceOne: { filter: { _id: row._id }, replacement: row } }]
          : []
      })
      if (changedMessages.length > 0) await rows.messages.bulkWrite(changedMessages, { session })

      const changedParticipants = [...participants].flatMap(
        ([key, row]): AnyBulkWriteOperation<ParticipantDocument>[] => {
          const before = stored.participants.get(key)
          if (!row) return before ? [{ deleteOne: { filter: { _id: before._id } } }] : []
          if (!before) return [{ insertOne: { document: asAdded(row, head) } }]
          if (!before._id.equals(row._id)) {
            return [
              { deleteOne: { filter: { _id: before._id } } },
              { insertOne: { document: asAdded(row, head) } },
            ]
          }
          return differs(before, row) ? [{ replaceOne: { filter: { _id: row._id }, replacement: row } }] : []
        },
      )
      if (changedParticipants.length > 0) await rows.participants.bulkWrite(changedParticipants, { session })
    },

    /** After the commit. Losing it only makes lists slower. */
    async settle(): Promise<void> {
      const { head } = drafts
      if (wasActive && head.status !== 'active' && !head.deletedAt) await markRows(head)
    },
  }
}
