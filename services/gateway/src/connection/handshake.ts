import type { Verifier } from '@parley/auth'
import { type ConnectErrorData, ProblemError, participantKey } from '@parley/contract'
import { createTokenBucket, type Logger } from '@parley/service-kit'
import type { ChatSocket } from '../sockets.ts'
import type { Admission } from './admission.ts'
import { createSession, keepSession } from './session.ts'

/** Seconds' worth of events that a socket may send at once: a returning client joins all its rooms. */
const BURST_SECONDS = 10

/** Arrives at the client as `connect_error` with this `data`. */
class HandshakeError extends Error {
  readonly data: ConnectErrorData

  constructor(data: ConnectErrorData) {
    super(data.code)
    this.data = data
  }
}

export interface HandshakeOptions {
  verifier: Verifier
  admission: Admission
  isAllowedOrigin(origin: string): boolean
  /** Events per second and socket. */
  eventsPerSecond: number
  onRefused(code: ConnectErrorData['code']): void
  logger: Logger
}

/** Admits or refuses a newcomer, and records who it is. */
export function createHandshake(options: HandshakeOptions) {
  const { verifier, admission, isAllowedOrigin, eventsPerSecond, onRefused, logger } = options

  function throwIfRefused(reconnectAfterMs: number | null): void {
    if (reconnectAfterMs !== null) throw new HandshakeError({ code: 'overloaded', reconnectAfterMs })
  }

  function refusal(error: unknown): HandshakeError {
    if (error instanceof HandshakeError) return error
    const code = error instanceof ProblemError ? error.code : 'internal'
    if (code === 'unauthenticated' || code === 'token_expired') return new HandshakeError({ code })
    // Not the client's fault: the issuer's keys can't be fetched, or something is wrong here.
    logger.warn({ err: error }, 'somebody could not be admitted')
    return new HandshakeError({ code: 'overloaded', reconnectAfterMs: admission.laterMs() })
  }

  async function admit(socket: ChatSocket): Promise<void> {
    const { headers, auth } = socket.handshake
    if (headers.origin !== undefined && !isAllowedOrigin(headers.origin)) {
      throw new HandshakeError({ code: 'origin_not_allowed' })
    }
    const token: unknown = auth.token
    if (typeof token !== 'string') throw new HandshakeError({ code: 'unauthenticated' })
    throwIfRefused(admission.refuse())
    const { caller, issuedAt, expiresAt } = await verifier.verify(token)
    const key = participantKey(caller)
    throwIfRefused(admission.refusePerson(`${caller.orgId}\n${key}`))
    const bucket = createTokenBucket(eventsPerSecond, eventsPerSecond * BURST_SECONDS)
    Object.assign(socket.data, {
      userId: caller.id,
      type: caller.type,
      roles: caller.roles,
      orgId: caller.orgId,
      caller,
      key,
    })
    keepSession(socket.data, createSession({ token, issuedAt, expiresAt }, bucket))
  }

  return (socket: ChatSocket, next: (error?: Error) => void): void => {
    admit(socket).then(
      () => next(),
      (error: unknown) => {
        const refused = refusal(error)
        onRefused(refused.data.code)
        next(refused)
      },
    )
  }
}
