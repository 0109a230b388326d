import type { ServerPayload } from '@parley/contract'
import type { Session } from './session.ts'

/** Milliseconds before a token's end at which its socket is warned, and after it for which the socket lives on. */
const WARN_MS = 60_000
const GRACE_MS = 30_000
/** Milliseconds between two checks of all sockets: for thousands of them, cheaper than a timer each. */
const LOOK_MS = 1_000

type Announced = 'auth:expiring' | 'auth:expired'
/** The part of a socket that is needed to end it. */
interface Expiring {
  data: { session: Pick<Session, 'expiresAt' | 'expiryTold'> }
  disconnect(close: boolean): unknown
}

export type Expiry<S extends Expiring = Expiring> = ReturnType<typeof createExpiry<S>>

/**
 * Ends sockets whose token expired: a warning a minute before, 30 s of grace, then `auth:expired` and the close; each
 * at most a second late.
 */
export function createExpiry<S extends Expiring>({
  emit,
}: {
  emit<E extends Announced>(socket: S, event: E, payload: ServerPayload<E>): void
}) {
  const watched = new Set<S>()
  let timer: NodeJS.Timeout | null = null

  function look(): void {
    const now = Date.now()
    for (const socket of watched) {
      const { session } = socket.data
      const endMs = session.expiresAt * 1_000
      if (now < endMs - WARN_MS) continue
      if (!session.expiryTold) {
        session.expiryTold = true
        emit(socket, 'auth:expiring', { expiresAt: new Date(endMs).toISOString() })
      }
      if (now < endMs + GRACE_MS) continue
      stop(socket)
      emit(socket, 'auth:expired', { code: 'token_expired' })
      socket.disconnect(true)
    }
  }

  function stop(socket: S): void {
    watched.delete(socket)
    if (watched.size > 0 || !timer) return
    clearInterval(timer)
    timer = null
  }

  return {
    /** Starts watching, or restarts after a refresh. */
    watch(socket: S): void {
      socket.data.session.expiryTold = false
      watched.add(socket)
      timer ??= setInterval(look, LOOK_MS)
    },
    stop,
  }
}
