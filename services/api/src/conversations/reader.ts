import { LIMITS, type RoomConversation } from '@parley/contract'
import type { ObjectId } from 'mongodb'
import type { Collections, ConversationDocument, ParticipantDocument } from '../database/collections.ts'
import { foldTail } from '../messages/fold.ts'
import { COUNTED } from '../messages/head-updater.ts'
import type { MessageStore } from '../messages/store.ts'
import { byJoining } from '../participants/participant.ts'
import { type ConversationState, toRoomConversation } from './conversation.ts'

export interface ReaderOptions {
  rows: Pick<Collections, 'conversations' | 'participants'>
  store: Pick<MessageStore, 'tails'>
}

export interface ReadState extends ConversationState {
  /** The row of the requested participant; null: takes no part. */
  own: ParticipantDocument | null
}

export type ConversationReader = ReturnType<typeof createConversationReader>

/**
 * Completes heads that were just read. The tail is selected by seq above each head's `settledSeq`, so it is exact
 * however far the fold has come in between.
 */
export function createConversationReader({ rows, store }: ReaderOptions) {
  const { conversations, participants } = rows

  /** The heads with their tails counted in. One query. */
  async function current(heads: readonly ConversationDocument[]): Promise<ConversationDocument[]> {
    const tailOf = await store.tails(
      heads.map(({ _id, settledSeq }) => ({ cid: _id, settledSeq })),
      COUNTED,
    )
    return heads.map((head) => foldTail(head, tailOf.get(head._id.toHexString()) ?? []))
  }

  /** The first 20 participants of each, and `key` where it takes part. One query. */
  async function shown(
    heads: readonly ConversationDocument[],
    key: string | null,
  ): Promise<ParticipantDocument[]> {
    if (heads.length === 0) return []
    const isLarge = ({ participantCount }: ConversationDocument) =>
      participantCount > LIMITS.participantsShown
    const large = heads.filter(isLarge).map(({ _id }) => _id)
    const small = heads.filter((head) => !isLarge(head)).map(({ _id }) => _id)
    if (large.length === 0) return participants.find({ cid: { $in: small } }).toArray()
    const first = large.map((cid) => ({
      $unionWith: {
        coll: participants.collectionName,
        pipeline: [
          { $match: { cid } },
          { $sort: { joinedAt: 1, _id: 1 } },
          { $limit: LIMITS.participantsShown },
        ],
      },
    }))
    const own =
      key === null
        ? { cid: { $in: small } }
        : { $or: [{ cid: { $in: small } }, { cid: { $in: large }, key }] }
    return participants.aggregate<ParticipantDocument>([{ $match: own }, ...first]).toArray()
  }

  /** The full views of these, in order. Two queries, in parallel. */
  async function states(heads: readonly ConversationDocument[], key: string | null): Promise<ReadState[]> {
    if (heads.length === 0) return []
    const [folded, everyone] = await Promise.all([current(heads), shown(heads, key)])
    const participantsOf = Map.groupBy(everyone, ({ cid }) => cid.toHexString())
    return folded.map((head) => {
      const unique = new Map(
        (participantsOf.get(head._id.toHexString()) ?? []).map((row) => [row.key, row] as const),
      )
      const own = (key !== null && unique.get(key)) || null
      const sorted = [...unique.values()].sort(byJoining)
      return { head, own, shown: sorted.slice(0, LIMITS.participantsShown) }
    })
  }

  return {
    current,
    states,

    /** Conversations as rooms see them, by id; deleted ones are left out. */
    async roomViews(ids: readonly ObjectId[]): Promise<Map<string, RoomConversation>> {
      const heads = await conversations
        .find({ _id: { $in: [...ids] }, deletedAt: { $exists: false } })
        .toArray()
      const found = await states(heads, null)
      return new Map(found.map((state) => [state.head._id.toHexString(), toRoomConversation(state)]))
    },
  }
}
