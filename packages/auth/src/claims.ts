import { type Caller, OpaqueId, type OrgRole, ParticipantType } from '@parley/contract'

/** The meaning of the issuer's claims; see `JWT_*` in the configuration. */
export interface ClaimConfig {
  JWT_ISSUER?: string | undefined
  JWT_AUDIENCE: string[]
  JWT_AUTHORIZED_PARTIES: string[]
  JWT_CLAIM_ORG?: string | undefined
  JWT_CLAIM_TYPE?: string | undefined
  JWT_CLAIM_ROLES?: string | undefined
  JWT_ROLE_ADMIN: string
  JWT_DEFAULT_ORG?: string | undefined
}

export type Claims = Record<string, unknown>

const MAX_NAME_LENGTH = 200
const MAX_PICTURE_LENGTH = 2_048
/** Seconds that an issuer's clock may be ahead of ours. */
const SKEW_SECONDS = 5

const isObject = (value: unknown): value is Claims =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** A claim by its literal name, else as a dotted path. */
export function claim(claims: Claims, name: string): unknown {
  if (Object.hasOwn(claims, name)) return claims[name]
  let value: unknown = claims
  for (const part of name.split('.')) {
    if (!isObject(value) || !Object.hasOwn(value, part)) return undefined
    value = value[part]
  }
  return value
}

/** A string counts as a list of one; anything else that is not a list is none. */
const listOf = (value: unknown): string[] | null => {
  if (typeof value === 'string') return [value]
  if (Array.isArray(value)) return value.filter((item) => typeof item === 'string')
  return null
}

function participantType(value: unknown): ParticipantType | null {
  if (value === undefined || value === null) return 'user'
  if (typeof value === 'string') return ParticipantType.safeParse(value).data ?? null
  // A list is a list of roles: being an agent is one of them.
  const list = listOf(value)
  return list ? (list.includes('agent') ? 'agent' : 'user') : null
}

function orgOf(value: unknown, fallback: string | undefined): string | null {
  const list = value === undefined || value === null ? [] : listOf(value)
  if (!list || list.length > 1) return null
  return OpaqueId.safeParse(list[0] ?? fallback).data ?? null
}

const text = (value: unknown, length: number): string | null =>
  typeof value === 'string' && value !== '' && value.length <= length && OpaqueText(value) ? value : null

const OpaqueText = (value: string): boolean => value.isWellFormed() && !/\p{Cc}/u.test(value)

function pictureOf(value: unknown): string | null {
  const url = text(value, MAX_PICTURE_LENGTH)
  return url && URL.canParse(url) && new URL(url).protocol === 'https:' ? url : null
}

const nameOf = (value: unknown): string | null =>
  typeof value === 'string' ? text(value.slice(0, MAX_NAME_LENGTH).trim(), MAX_NAME_LENGTH) : null

/** Whether the token was made by our issuer, for us, and is already valid. Expiry is checked separately. */
export function isForUs(claims: Claims, config: ClaimConfig, now: number): boolean {
  const { iss, aud, azp, nbf } = claims
  if (config.JWT_ISSUER !== undefined && iss !== config.JWT_ISSUER) return false
  if (config.JWT_AUDIENCE.length > 0) {
    const audience = listOf(aud)
    if (!audience?.some((name) => config.JWT_AUDIENCE.includes(name))) return false
  }
  if (config.JWT_AUTHORIZED_PARTIES.length > 0) {
    if (typeof azp !== 'string' || !config.JWT_AUTHORIZED_PARTIES.includes(azp)) return false
  }
  return nbf === undefined || (typeof nbf === 'number' && nbf <= now + SKEW_SECONDS)
}

/** The caller that the claims name, or null if they name none. */
export function callerOf(claims: Claims, config: ClaimConfig): Caller | null {
  const id = OpaqueId.safeParse(claims.sub).data
  const type = participantType(claim(claims, config.JWT_CLAIM_TYPE ?? 'type'))
  const orgId = orgOf(claim(claims, config.JWT_CLAIM_ORG ?? 'orgId'), config.JWT_DEFAULT_ORG)
  if (id === undefined || type === null || orgId === null) return null
  const given = listOf(claim(claims, config.JWT_CLAIM_ROLES ?? 'roles')) ?? []
  const roles: OrgRole[] = []
  if (given.includes('member')) roles.push('member')
  if (given.includes(config.JWT_ROLE_ADMIN)) roles.push('admin')
  return { type, id, orgId, roles, name: nameOf(claims.name), picture: pictureOf(claims.picture) }
}
