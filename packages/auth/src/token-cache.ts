export interface TokenCache<T> {
  get(token: string): T | undefined
  set(token: string, value: T): void
}

/**
 * Keeps between `size` and twice `size` of the most recently used entries: two generations, the older dropped when the
 * younger is full. Costs one map lookup on a hit, where an exact order of use would write on each.
 */
export function createTokenCache<T>(size: number): TokenCache<T> {
  let young = new Map<string, T>()
  let old = new Map<string, T>()
  function set(token: string, value: T): void {
    if (young.size >= size) {
      old = young
      young = new Map()
    }
    young.set(token, value)
  }
  return {
    get: (token) => {
      const value = young.get(token)
      if (value !== undefined) return value
      const older = old.get(token)
      if (older !== undefined) set(token, older)
      return older
    },
    set,
  }
}
