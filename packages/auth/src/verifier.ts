import { type Caller, ProblemError, problem } from '@parley/contract'
import { createVerifier as createSignatureCheck } from 'fast-jwt'
import { compactVerify, createRemoteJWKSet, errors } from 'jose'
import { type ClaimConfig, type Claims, callerOf, isForUs } from './claims.ts'
import type { RevocationList } from './revocations.ts'
import { createTokenCache } from './token-cache.ts'

/** Where the key comes from (exactly one of the three), and how claims are read. */
export interface JwtConfig extends ClaimConfig {
  JWT_SECRET?: string | undefined
  JWT_JWKS_URL?: string | undefined
  JWT_PUBLIC_KEY?: string | undefined
}

/** Of the year 9999: the last that a timestamp with a year of four digits can say. */
const LAST_SECOND = 253_402_300_799

export interface VerifiedToken {
  caller: Caller
  /** Seconds since 1970; 0 if the token does not say. */
  issuedAt: number
  /** Seconds since 1970, at most the end of the year 9999. */
  expiresAt: number
}

export interface Verifier {
  /**
   * The caller who shows this token. A token seen before is answered at once, its expiry and revocation checked anew.
   * Throws or rejects with `unauthenticated`, the same for every fault; `token_expired` for one that is sound but old;
   * `unavailable` if the issuer's keys cannot be fetched.
   */
  verify(token: string): VerifiedToken | Promise<VerifiedToken>
}

export interface VerifierDependencies {
  revocations: RevocationList
  /** Milliseconds since 1970. */
  now?: () => number
  /** Milliseconds between two fetches of the issuer's keys because of an unknown one; default 10,000. */
  keyCooldownMs?: number
}

const MAX_TOKEN = 16_384
/** A key that its issuer withdrew is believed this long at most. */
const TRUST_MS = 300_000
const PUBLIC_ALGORITHMS = ['RS256', 'ES256', 'EdDSA'] as const
const JWKS = { cacheMaxAge: 600_000, timeoutDuration: 3_000 }

type SignatureCheck = (token: string) => Claims | Promise<Claims>

const asClaims = (payload: unknown): Claims => {
  if (typeof payload !== 'object' || payload === null || Array.isArray(payload)) {
    throw problem('unauthenticated')
  }
  return { ...payload }
}

/** Neither library checks claims here: this package has one set of rules, whatever the key. */
function signatureCheck(config: JwtConfig, cooldownDuration: number): SignatureCheck {
  const claimsUnjudged = { ignoreExpiration: true, ignoreNotBefore: true, cache: false }
  if (config.JWT_SECRET !== undefined) {
    const check = createSignatureCheck({ key: config.JWT_SECRET, algorithms: ['HS256'], ...claimsUnjudged })
    return (token) => asClaims(check(token))
  }
  if (config.JWT_PUBLIC_KEY !== undefined) {
    const check = createSignatureCheck({
      key: config.JWT_PUBLIC_KEY,
      algorithms: [...PUBLIC_ALGORITHMS],
      ...claimsUnjudged,
    })
    return (token) => asClaims(check(token))
  }
  if (config.JWT_JWKS_URL === undefined) throw new Error('a verifier needs a key')
  const keys = createRemoteJWKSet(new URL(config.JWT_JWKS_URL), { ...JWKS, cooldownDuration })
  const decoder = new TextDecoder('utf-8', { fatal: true })
  return async (token) => {
    const { payload } = await compactVerify(token, keys, { algorithms: [...PUBLIC_ALGORITHMS] })
    return asClaims(JSON.parse(decoder.decode(payload)))
  }
}

/** Faults of the issuer's key server, not of the token. */
function isKeyServerAway(error: unknown): boolean {
  if (error instanceof errors.JWKSTimeout || error instanceof errors.JWKSInvalid) return true
  if (error instanceof TypeError) return error.message.includes('fetch')
  return error instanceof errors.JOSEError && error.code === 'ERR_JOSE_GENERIC'
}

const refusal = (error: unknown): ProblemError => {
  if (error instanceof ProblemError) return error
  if (isKeyServerAway(error)) {
    return problem('unavailable', {
      detail: 'The keys of the token issuer cannot be fetched',
      retryAfter: 2,
      cause: error,
    })
  }
  return problem('unauthenticated', { cause: error })
}

/** Verifies users' and agents' tokens. One kind of key per deployment, its algorithms pinned. */
export function createVerifier(config: JwtConfig, dependencies: VerifierDependencies): Verifier {
  const { revocations, now = Date.now, keyCooldownMs = 10_000 } = dependencies
  const check = signatureCheck(config, keyCooldownMs)
  const cache = createTokenCache<{ verified: VerifiedToken; trustedUntil: number }>(10_000)

  /** What can change after a token was first seen. */
  function current(verified: VerifiedToken): VerifiedToken {
    if (now() >= verified.expiresAt * 1_000) throw problem('token_expired')
    if (revocations.isRevoked(verified.caller, verified.issuedAt)) throw problem('unauthenticated')
    return verified
  }

  function judge(token: string, claims: Claims): VerifiedToken {
    const { exp, iat } = claims
    const caller = isForUs(claims, config, now() / 1_000) ? callerOf(claims, config) : null
    if (!caller || typeof exp !== 'number') throw problem('unauthenticated')
    if (iat !== undefined && typeof iat !== 'number') throw problem('unauthenticated')
    const verified = current({
      caller,
      issuedAt: Math.floor(iat ?? 0),
      expiresAt: Math.min(exp, LAST_SECOND),
    })
    cache.set(token, { verified, trustedUntil: now() + TRUST_MS })
    return verified
  }

  return {
    verify: (token) => {
      const known = cache.get(token)
      if (known && known.trustedUntil > now()) return current(known.verified)
      if (token.length > MAX_TOKEN) throw problem('unauthenticated')
      try {
        const claims = check(token)
        if (!(claims instanceof Promise)) return judge(token, claims)
        return claims
          .then((resolved) => judge(token, resolved))
          .catch((error: unknown) => {
            throw refusal(error)
          })
      } catch (error) {
        throw refusal(error)
      }
    },
  }
}
