/** Numbers that a seed repeats (mulberry32). Good enough to choose by, not for secrets. */
export interface Random {
  /** 0 ≤ x < 1 */
  next(): number
  /** A whole number, both bounds included. */
  int(min: number, max: number): number
  pick<T>(from: readonly T[]): T
  shuffle<T>(list: readonly T[]): T[]
}

export function createRandom(seed: number): Random {
  let state = seed >>> 0
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
  const int = (min: number, max: number) => min + Math.floor(next() * (max - min + 1))
  return {
    next,
    int,
    pick(from) {
      const chosen = from[int(0, from.length - 1)]
      if (chosen === undefined) throw new Error('Nothing to pick from')
      return chosen
    },
    shuffle(list) {
      const result = [...list]
      for (let i = result.length - 1; i > 0; i--) {
        const j = int(0, i)
        const [a, b] = [result[i], result[j]]
        if (a !== undefined && b !== undefined) {
          result[i] = b
          result[j] = a
        }
      }
      return result
    },
  }
}
