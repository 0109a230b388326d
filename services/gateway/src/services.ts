import type { RevocationList, Verifier } from '@parley/auth'
import type { Online } from '@parley/contract'
import type { ApiClient, Logger, Registry } from '@parley/service-kit'
import type { Expiry } from './connection/expiry.ts'
import type { Outbound } from './connection/outbound.ts'
import type { People } from './connection/people.ts'
import type { ControlBus } from './control/bus.ts'
import type { Follow } from './delivery/follow.ts'
import type { Room, Rooms } from './delivery/rooms.ts'
import type { Lifecycle } from './lifecycle.ts'

/** What the gateway is made of before its features: what they are built on. */
export interface Core {
  logger: Logger
  registry: Registry
  api: ApiClient
  verifier: Verifier
  revocations: RevocationList
  outbound: Outbound
  rooms: Rooms
  people: People
  lifecycle: Lifecycle
  control: ControlBus
}

/** What handlers of client events use. */
export interface Services extends Core {
  follow: Follow
  expiry: Expiry
  /** Asks again, in the background, who may be in a room. */
  recheck(room: Room): void
  presence: { online(conversationId: string): Promise<Online> }
}
