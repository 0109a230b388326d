import type { ServerPayload } from '@parley/contract'
import type { Session } from './session.ts'

/** Milliseconds before a token's end that its socket is told, and after it that the socket lives on. */
const WARN_MS = 60_000
const GRACE_MS = 30_000
/** The longest that a timer can wait. */
const LONGEST_MS = 2 ** 31 - 1

type Announced = 'auth:expiring' | 'auth:expired'
/** As much of a socket as its end needs. */
interface Expiring {
  data: { session: Pick<Session, 'expiresAt' | 'expiryTimer'> }
  disconnect(close: boolean): unknown
}

export type Expiry<S extends Expiring = Expiring> = ReturnType<typeof createExpiry<S>>

/** Ends sockets whose token expired: a warning a minute before, 30 s of grace, then `auth:expired` and the close. */
export function createExpiry<S extends Expiring>({
  emit,
}: {
  emit<E extends Announced>(socket: S, event: E, payload: ServerPayload<E>): void
}) {
  function stop({ data }: S): void {
    if (data.session.expiryTimer) clearTimeout(data.session.expiryTimer)
    data.session.expiryTimer = null
  }

  function wait(socket: S, untilMs: number, then: () => void): void {
    stop(socket)
    const ms = Math.max(0, untilMs - Date.now())
    const { session } = socket.data
    const next = ms > LONGEST_MS ? () => wait(socket, untilMs, then) : then
    session.expiryTimer = setTimeout(next, Math.min(ms, LONGEST_MS))
  }

  return {
    /** Starts, or starts anew after a refresh. */
    watch(socket: S): void {
      const endMs = socket.data.session.expiresAt * 1_000
      wait(socket, endMs - WARN_MS, () => {
        emit(socket, 'auth:expiring', { expiresAt: new Date(endMs).toISOString() })
        wait(socket, endMs + GRACE_MS, () => {
          emit(socket, 'auth:expired', { code: 'token_expired' })
          socket.disconnect(true)
        })
      })
    },
    stop,
  }
}
