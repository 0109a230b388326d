import { type ParticipantRef, parseParticipantKey } from '@parley/contract'

/** The participant meant by `ada`, `user:ada` or `agent:helper`. */
export const participantOf = (key: string): ParticipantRef =>
  parseParticipantKey(key.includes(':') ? key : `user:${key}`)
