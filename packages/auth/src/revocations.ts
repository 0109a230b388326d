import type { Caller, Revocation } from '@parley/contract'

type Person = Pick<Caller, 'orgId' | 'type' | 'id'>

export interface RevocationList {
  /** Returns whether it ends tokens that were valid before. Revocations are never taken back. */
  add(revocation: Revocation): boolean
  /** Whether the token, issued at this second (0: unknown), was ended by a revocation. */
  isRevoked(caller: Person, issuedAt: number): boolean
}

const keyOf = ({ orgId, type, id }: Person): string => `${type}\n${orgId}\n${id}`

/** The revocations in force, in memory: asked on every request, so a map and nothing else. */
export function createRevocationList(): RevocationList {
  const until = new Map<string, number>()
  return {
    add: (revocation) => {
      const key = keyOf(revocation)
      const isNews = revocation.before > (until.get(key) ?? Number.NEGATIVE_INFINITY)
      if (isNews) until.set(key, revocation.before)
      return isNews
    },
    isRevoked: (caller, issuedAt) => {
      if (until.size === 0) return false
      const before = until.get(keyOf(caller))
      return before !== undefined && issuedAt <= before
    },
  }
}
