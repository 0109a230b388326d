import type { OrgRole, ParticipantType } from '@parley/contract'
import { createSigner } from 'fast-jwt'

export interface UserClaims {
  sub: string
  type?: ParticipantType
  orgId: string
  roles?: OrgRole[]
  name?: string
  picture?: string
  iss?: string
  aud?: string
  azp?: string
  /** Seconds until it expires; default an hour. */
  expiresIn?: number
}

/** A user's or agent's token under `JWT_SECRET`, for development and tests. */
export function signUserToken(secret: string, { expiresIn = 3_600, ...claims }: UserClaims): string {
  return createSigner({ key: secret, algorithm: 'HS256', expiresIn: expiresIn * 1_000 })({ ...claims })
}
