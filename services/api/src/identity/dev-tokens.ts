import type { JwtConfig } from '@parley/auth'
import type { DevTokenRequest, DevTokenResponse } from '@parley/contract'
import { createSigner } from 'fast-jwt'
import type { z } from 'zod'

export type DevTokens = (request: z.infer<typeof DevTokenRequest>) => z.infer<typeof DevTokenResponse>

const DEFAULT_SECONDS = 3_600

/** Makes the tokens that this deployment's own configuration accepts: its issuer, audience and claim names. */
export function createDevTokens(config: JwtConfig & { JWT_SECRET: string }): DevTokens {
  const sign = createSigner({ key: config.JWT_SECRET, algorithm: 'HS256' })
  const constant = {
    ...(config.JWT_ISSUER === undefined ? {} : { iss: config.JWT_ISSUER }),
    ...(config.JWT_AUDIENCE[0] === undefined ? {} : { aud: config.JWT_AUDIENCE[0] }),
    ...(config.JWT_AUTHORIZED_PARTIES[0] === undefined ? {} : { azp: config.JWT_AUTHORIZED_PARTIES[0] }),
  }
  return ({ sub, type, orgId, roles = [], name, expiresIn = DEFAULT_SECONDS }) => {
    const iat = Math.floor(Date.now() / 1_000)
    const token = sign({
      ...constant,
      sub,
      iat,
      exp: iat + expiresIn,
      [config.JWT_CLAIM_TYPE ?? 'type']: type,
      [config.JWT_CLAIM_ORG ?? 'orgId']: orgId,
      [config.JWT_CLAIM_ROLES ?? 'roles']: roles.map((role) =>
        role === 'admin' ? config.JWT_ROLE_ADMIN : role,
      ),
      ...(name === undefined ? {} : { name }),
    })
    return { token, expiresAt: new Date((iat + expiresIn) * 1_000).toISOString() }
  }
}
