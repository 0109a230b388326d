import { type Participant, parseParticipantKey, type Receipt } from '@parley/contract'
import type { ParticipantDocument } from '../database/collections.ts'

export function toParticipant(row: ParticipantDocument): Participant {
  const { type, id } = parseParticipantKey(row.key)
  return {
    type,
    id,
    role: row.role,
    name: row.name ?? null,
    avatarUrl: row.avatarUrl ?? null,
    joinedAt: row.joinedAt.toISOString(),
    readSeq: row.readSeq,
  }
}

export function receiptOf(
  conversationId: string,
  { key, readSeq }: Pick<ParticipantDocument, 'key' | 'readSeq'>,
): Receipt {
  const { type, id } = parseParticipantKey(key)
  return { conversationId, participantType: type, participantId: id, userId: id, readSeq }
}

/** The start of a minute: activity is kept to the minute, so that it is rarely written. */
export const minuteOf = (at: Date): Date => new Date(Math.floor(at.getTime() / 60_000) * 60_000)

/** The order of joining. */
export const byJoining = (a: ParticipantDocument, b: ParticipantDocument): number =>
  a.joinedAt.getTime() - b.joinedAt.getTime() || (a._id.toHexString() < b._id.toHexString() ? -1 : 1)

/** The profile in a person's token. */
export interface Shown {
  name: string | null
  picture: string | null
}

export const shownAs = (shown: Shown | undefined): Pick<ParticipantDocument, 'name' | 'avatarUrl'> => ({
  ...(shown?.name ? { name: shown.name } : {}),
  ...(shown?.picture ? { avatarUrl: shown.picture } : {}),
})
