import { createHmac } from 'node:crypto'

/** What a token says. `type` is `user` and `expiresIn` 3,600 seconds unless given; a negative one has expired. */
export type TokenClaims = {
  sub: string
  orgId: string
  type?: 'user' | 'agent'
  roles?: string[]
  name?: string
  picture?: string
  expiresIn?: number
}

/** A JSON Web Token, HS256 under `secret`. */
export function signToken(secret: string, claims: TokenClaims): string {
  const { expiresIn = 3_600, type = 'user', ...rest } = claims
  const now = Math.floor(Date.now() / 1000)
  const payload = { ...rest, type, iat: now, exp: now + expiresIn }
  const input = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode(payload)}`
  return `${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`
}

function encode(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url')
}
