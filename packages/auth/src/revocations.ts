import type { Caller, Revocation } from '@parley/contract'

type Person = Pick<Caller, 'orgId' | 'type' | 'id'>

export interface RevocationList {
  add(revocation: Revocation): void
  /** Takes what the store holds; what was added since is kept. */
  replaceAll(revocations: Revocation[]): void
  /** Was the token, issued at this second (0: unknown), ended by a revocation? */
  isRevoked(caller: Person, issuedAt: number): boolean
  readonly size: number
}

const keyOf = ({ orgId, type, id }: Person): string => `${type}\n${orgId}\n${id}`

/** The revocations in force, in memory: asked on every request, so a map and nothing else. */
export function createRevocationList(): RevocationList {
  const until = new Map<string, number>()
  function add(revocation: Revocation): void {
    const key = keyOf(revocation)
    until.set(key, Math.max(revocation.before, until.get(key) ?? 0))
  }
  return {
    add,
    // A revocation is never taken back, so a list that was read a moment ago only ever adds.
    replaceAll: (revocations) => {
      for (const revocation of revocations) add(revocation)
    },
    isRevoked: (caller, issuedAt) => {
      if (until.size === 0) return false
      const before = until.get(keyOf(caller))
      return before !== undefined && issuedAt <= before
    },
    get size() {
      return until.size
    },
  }
}
