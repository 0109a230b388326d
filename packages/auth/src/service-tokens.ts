import { problem } from '@parley/contract'
import { createSigner, createVerifier } from 'fast-jwt'
import { z } from 'zod'

const ISSUER = 'parley'
const LIFETIME_SECONDS = 120
const MAX_TOKEN = 2_048

const ServiceClaims = z.object({
  iss: z.literal(ISSUER),
  sub: z.string().min(1),
  type: z.literal('service'),
  exp: z.number(),
})

/** A token by which one service proves itself to another; good for two minutes. */
export function signServiceToken(secret: string, service: string): string {
  const sign = createSigner({ key: secret, algorithm: 'HS256', expiresIn: LIFETIME_SECONDS * 1_000 })
  return sign({ iss: ISSUER, sub: service, type: 'service' })
}

export interface ServiceVerifier {
  /** The service's name; throws `unauthenticated`. */
  verify(token: string): string
}

export function createServiceVerifier(secret: string): ServiceVerifier {
  const check = createVerifier({ key: secret, algorithms: ['HS256'], cache: 100 })
  return {
    verify: (token) => {
      if (token.length > MAX_TOKEN) throw problem('unauthenticated')
      let payload: unknown
      try {
        payload = check(token)
      } catch (error) {
        throw problem('unauthenticated', { cause: error })
      }
      const claims = ServiceClaims.safeParse(payload)
      if (!claims.success) throw problem('unauthenticated')
      return claims.data.sub
    },
  }
}
