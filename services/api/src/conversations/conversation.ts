import {
  type Conversation,
  LIMITS,
  type Membership,
  parseParticipantKey,
  type RoomConversation,
} from '@parley/contract'
import type { ConversationDocument, ParticipantDocument } from '../database/collections.ts'
import { toParticipant } from '../participants/participant.ts'

/** All that is shown of a conversation. */
export interface ConversationState {
  /** With the messages above `settledSeq` counted in. */
  head: ConversationDocument
  /** The first to join, at most 20. */
  shown: ParticipantDocument[]
}

export type Own = Pick<ParticipantDocument, 'role' | 'readSeq'>

/** A conversation as all its participants see it. */
export function toRoomConversation({ head, shown }: ConversationState): RoomConversation {
  const { lastMessage } = head
  return {
    id: head._id.toHexString(),
    orgId: head.org,
    externalId: head.externalId ?? null,
    title: head.title,
    description: head.description ?? null,
    agentId: head.agentId ?? null,
    tags: head.tags,
    metadata: head.metadata,
    status: head.status,
    participantCount: head.participantCount,
    participants: shown.slice(0, LIMITS.participantsShown).map(toParticipant),
    messageCount: head.messageCount,
    lastSeq: head.lastSeq,
    changeSeq: head.changeSeq,
    lastMessage: lastMessage ? toLastMessage(lastMessage) : null,
    usage: {
      inputTokens: head.inputTokens,
      outputTokens: head.outputTokens,
      totalTokens: head.totalTokens,
    },
    totalCost: head.costMicros / 1e6,
    contextSummary: head.summary ?? null,
    summaryCoversSeq: head.summaryCoversSeq,
    createdAt: head.createdAt.toISOString(),
    createdBy: parseParticipantKey(head.createdBy),
    updatedAt: head.updatedAt.toISOString(),
    updatedBy: parseParticipantKey(head.updatedBy),
  }
}

function toLastMessage(last: NonNullable<ConversationDocument['lastMessage']>): Conversation['lastMessage'] {
  const author = parseParticipantKey(last.author)
  return {
    id: last.id.toHexString(),
    seq: last.seq,
    role: last.role,
    participantType: author.type,
    participantId: author.id,
    preview: last.preview,
    createdAt: last.createdAt.toISOString(),
  }
}

/** A conversation as one person sees it; `own` null: an admin who takes no part. */
export function toConversation(state: ConversationState, own: Own | null): Conversation {
  const { lastSeq } = state.head
  return { ...toRoomConversation(state), me: own && toMembership(own, lastSeq) }
}

const toMembership = ({ role, readSeq }: Own, lastSeq: number): Membership => ({
  role,
  readSeq,
  unread: Math.max(0, lastSeq - readSeq),
})
