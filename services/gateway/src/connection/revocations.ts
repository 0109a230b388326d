import { createRevocationList, type RevocationList, type Verifier } from '@parley/auth'
import { ProblemError, PUBLISHED_EVENTS, participantKey, problem } from '@parley/contract'
import type { TailEvent } from '@parley/events'
import { createPeriodic } from '@parley/service-kit'
import { z } from 'zod'
import type { RoomAccess } from '../delivery/room-access.ts'
import type { Core } from '../services.ts'
import type { ChatNamespace, ChatSocket } from '../sockets.ts'

/**
 * Milliseconds between two readings of the whole list. `silent`: while events may not arrive by the control stream, and
 * after a reading that failed.
 */
const POLL_MS = { silent: 1_000, usual: 60_000 }
const Revoked = z.object(PUBLISHED_EVENTS['auth.revoked'].shape)

/** Ends the sockets of revoked tokens, told by the control stream or, while that is silent, by the api. */
export function createRevocationFeed(
  core: Pick<Core, 'api' | 'revocations' | 'people' | 'logger'>,
  { namespace, roomAccess, isLive }: { namespace: ChatNamespace; roomAccess: RoomAccess; isLive(): boolean },
) {
  const { api, revocations, people, logger } = core

  function end(socket: ChatSocket): void {
    for (const room of [...socket.data.session.rooms]) roomAccess.expel(socket, room, 'revoked')
    socket.disconnect(true)
  }

  function sweep(sockets: Iterable<ChatSocket>): void {
    for (const socket of [...sockets]) {
      if (revocations.isRevoked(socket.data.caller, socket.data.session.issuedAt)) end(socket)
    }
  }

  async function read(): Promise<number> {
    try {
      const answer = await api.internal('/internal/revocations', {})
      for (const revocation of answer.revocations) revocations.add(revocation)
      sweep(namespace.sockets.values())
      revocations.loaded = true
      return isLive() ? POLL_MS.usual : POLL_MS.silent
    } catch (error) {
      if (!(error instanceof ProblemError)) throw error
      logger.debug({ err: error }, 'revocations not read')
      return POLL_MS.silent
    }
  }
  const polling = createPeriodic(read)

  return {
    /** Resolves once reading the list was attempted. */
    start: polling.start,
    /**
     * Events may have been missed, or no longer arrive: reads the list, and once more if a reading is already under
     * way.
     */
    readNow: polling.wake,
    onEvents(events: readonly TailEvent[]): void {
      for (const { type, org, data } of events) {
        if (type !== 'auth.revoked' || data === undefined) continue
        const revoked = Revoked.parse(JSON.parse(data))
        revocations.add({ orgId: org, ...revoked })
        sweep(people.of(org, participantKey(revoked)))
      }
    },
    /** Does not wait for an answer from the api. */
    close: (): void => void polling.close(),
  }
}

/** Revocations, and whether they have been read from the api once: until then no token can be trusted. */
export interface KnownRevocations extends RevocationList {
  loaded: boolean
}

export const createKnownRevocations = (): KnownRevocations => ({ ...createRevocationList(), loaded: false })

/** Accepts no token until the revocations are known: `unavailable` until then. */
export const onceLoaded = (verifier: Verifier, revocations: KnownRevocations): Verifier => ({
  verify(token) {
    if (revocations.loaded) return verifier.verify(token)
    throw problem('unavailable', { detail: 'Revocations have not been loaded yet', retryAfter: 1 })
  },
})
