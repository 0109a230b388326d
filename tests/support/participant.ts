import { type ParticipantRef, parseParticipantKey } from '@parley/contract'

/** Who is meant by `ada`, `user:ada` or `agent:helper`. */
export const participantOf = (key: string): ParticipantRef =>
  parseParticipantKey(key.includes(':') ? key : `user:${key}`)
