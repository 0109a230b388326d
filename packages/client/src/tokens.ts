import { toParleyError } from './errors.ts'

/** A token, or what fetches one: called again before a token expires and after it was refused. */
export type TokenInput = string | (() => string | Promise<string>)

export interface TokenSource {
  /** A token that is good for a while; the same one until half a minute before it expires. Rejects with ParleyError. */
  get(): Promise<string>
  /** Another token; a fixed one stays what it is. */
  renew(): Promise<string>
  /** A refused token can be replaced. */
  readonly renewable: boolean
}

const MARGIN_MS = 30_000

/** When a JSON Web Token expires (milliseconds since 1970), or null where it doesn't say. Reads, never verifies. */
function expiryOf(token: string): number | null {
  const payload = token.split('.')[1]
  if (!payload) return null
  try {
    const claims: unknown = JSON.parse(atob(payload.replaceAll('-', '+').replaceAll('_', '/')))
    if (typeof claims !== 'object' || claims === null || !('exp' in claims)) return null
    return typeof claims.exp === 'number' ? claims.exp * 1000 : null
  } catch {
    return null // Not a JSON Web Token: the server will say so, with a better message than ours.
  }
}

async function ask(input: () => string | Promise<string>): Promise<string> {
  try {
    return await input()
  } catch (error) {
    throw toParleyError(error)
  }
}

export function createTokenSource(input: TokenInput): TokenSource {
  let current: string | null = null
  let goodUntil = 0
  let pending: Promise<string> | null = null

  async function fetchToken(): Promise<string> {
    const token = typeof input === 'string' ? input : await ask(input)
    current = token
    const expiry = expiryOf(token)
    goodUntil = expiry === null ? Number.POSITIVE_INFINITY : expiry - MARGIN_MS
    return token
  }

  function renew(): Promise<string> {
    pending ??= fetchToken().finally(() => {
      pending = null
    })
    return pending
  }

  return {
    get: () => {
      if (pending) return pending
      if (current !== null && (typeof input === 'string' || Date.now() < goodUntil)) {
        return Promise.resolve(current)
      }
      return renew()
    },
    renew,
    renewable: typeof input !== 'string',
  }
}
