import { ParleyError, toParleyError } from './errors.ts'
import { raceSignal } from './timing.ts'

/** A token, or what fetches one: called again before a token expires, after it was refused, and where it gave none. */
export type TokenInput = string | (() => string | Promise<string>)

export interface TokenSource {
  /** A token that is good for a while; the same one until half a minute before it expires. Rejects with ParleyError. */
  get(): Promise<string>
  /** Another token; a fixed one stays what it is. */
  renew(): Promise<string>
  /** The present one was refused: the next `get` asks for another. */
  drop(): void
  /** A refused token can be replaced. */
  readonly renewable: boolean
}

/** Other tokens that are shown in place of refused ones, one after the other. */
export const RENEWALS = 3
/**
 * Milliseconds before yet another is asked for: a revocation goes by whole seconds, and catches what is issued right
 * behind it.
 */
export const RENEW_AGAIN_MS = 1_000

const MARGIN_MS = 30_000
/** The time that a token function has. */
const ASK_MS = 15_000

/** When a JSON Web Token expires (milliseconds since 1970), or null where it doesn't say. Reads, never verifies. */
function expiryOf(token: string): number | null {
  try {
    const payload = token.split('.')[1] ?? ''
    const claims: unknown = JSON.parse(atob(payload.replaceAll('-', '+').replaceAll('_', '/')))
    if (typeof claims !== 'object' || claims === null || !('exp' in claims)) return null
    return typeof claims.exp === 'number' ? claims.exp * 1000 : null
  } catch {
    return null // Not a JSON Web Token.
  }
}

async function inTime(asked: Promise<string>): Promise<string> {
  const limit = AbortSignal.timeout(ASK_MS)
  try {
    return await raceSignal(asked, limit)
  } catch (error) {
    if (limit.aborted)
      throw new ParleyError('timeout', 'The token function did not return a token within 15 s')
    throw toParleyError(error)
  }
}

export function createTokenSource(input: TokenInput): TokenSource {
  if (typeof input === 'function') return createFetchedTokens(input)
  const given = () => Promise.resolve(input)
  return { get: given, renew: given, drop: () => undefined, renewable: false }
}

function createFetchedTokens(input: () => string | Promise<string>): TokenSource {
  let current: string | null = null
  let goodUntil = 0
  let pending: Promise<string> | null = null
  let calls = 0
  /** The call that gave the current one. */
  let currentCall = 0

  /** The function's token is kept even if it comes too late for its caller, unless a later call was faster. */
  async function fetchToken(): Promise<string> {
    const call = ++calls
    const token = await input()
    const expiry = expiryOf(token)
    // An error page of some proxy, say: the next answer may be a token.
    if (expiry === null)
      throw new ParleyError('network', 'The token function returned something without an expiry (`exp`)')
    if (call > currentCall) {
      currentCall = call
      current = token
      // One that is new and has expired: this clock is ahead. Then it is good until it is refused.
      goodUntil = expiry > Date.now() ? expiry - MARGIN_MS : Number.POSITIVE_INFINITY
    }
    return token
  }

  function renew(): Promise<string> {
    pending ??= inTime(fetchToken()).finally(() => {
      pending = null
    })
    return pending
  }

  return {
    get: () => {
      if (pending) return pending
      return current !== null && Date.now() < goodUntil ? Promise.resolve(current) : renew()
    },
    renew,
    drop: () => {
      goodUntil = 0
    },
    renewable: true,
  }
}
