import type { TokenBucket } from '@parley/service-kit'
import type { Attempt } from '../delivery/feed.ts'
import type { Room } from '../delivery/room.ts'
import type { Link } from './wire.ts'

/** What the gateway keeps for one socket, besides its identity. */
export interface Session {
  /** The token it last showed, sent to the api with every call made in the caller's name. */
  token: string
  /** Seconds since 1970. */
  issuedAt: number
  expiresAt: number
  /** It was warned that its token is about to end. */
  expiryTold: boolean
  /** Rooms that it is in. */
  rooms: Set<Room>
  /** Joins under way, and their rooms. */
  joining: Map<Attempt, Room>
  /**
   * Events being handled, by conversation or stream: the next one of the same waits. Null if none, as nearly always.
   */
  lanes: Map<string, Promise<void>> | null
  /** Events being handled or waiting. */
  pending: number
  /** Approximate bytes of their payloads. */
  pendingBytes: number
  bucket: TokenBucket
  /** It reads too slowly: nothing more is sent, and the connection ends soon. */
  overflowed: boolean
  link: Link | null
}

export function createSession(
  verified: { token: string; issuedAt: number; expiresAt: number },
  bucket: TokenBucket,
): Session {
  return {
    ...verified,
    expiryTold: false,
    rooms: new Set(),
    joining: new Map(),
    lanes: null,
    pending: 0,
    pendingBytes: 0,
    bucket,
    overflowed: false,
    link: null,
  }
}

/**
 * Puts a session where it isn't enumerated: `fetchSockets` sends what is to any server on the same Redis, which the
 * token does not concern, and can't send objects that lead back to themselves.
 */
export function keepSession(data: object, session: Session): void {
  Object.defineProperty(data, 'session', { value: session })
}
