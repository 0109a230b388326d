import type { RevocationList, Verifier } from '@parley/auth'
import type { ApiClient, Logger } from '@parley/service-kit'
import type { Expiry } from './connection/expiry.ts'
import type { Outbound } from './connection/outbound.ts'
import type { People } from './connection/people.ts'
import type { RoomAccess } from './delivery/room-access.ts'
import type { Room, Rooms } from './delivery/rooms.ts'
import type { Lifecycle } from './lifecycle.ts'
import type { PresenceFeature } from './presence/presence.ts'
import type { ChatSocket } from './sockets.ts'
import type { Streams } from './streaming/streams.ts'
import type { Typing } from './typing/typing.ts'

/** What the gateway's features are built on. */
export interface Core {
  logger: Logger
  api: ApiClient
  verifier: Verifier
  revocations: RevocationList
  outbound: Outbound
  rooms: Rooms
  people: People
  lifecycle: Lifecycle
}

/** What handlers of client events use. */
export interface Services extends Core {
  roomAccess: RoomAccess
  expiry: Expiry<ChatSocket>
  /** Checks again, in the background, who may be in a room. */
  recheck(room: Room): void
  presence: PresenceFeature
  typing: Typing
  streams: Streams
}
