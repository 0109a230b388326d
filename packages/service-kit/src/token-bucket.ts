export interface TokenBucket {
  /** Takes `count` if there are that many. */
  take(count?: number): boolean
  /** Milliseconds until one is there. */
  waitMs(): number
}

const monotonicMs = (): number => performance.now()

/** At most `burst` at once and `perSecond` in the long run; 0 per second switches it off. */
export function createTokenBucket(
  perSecond: number,
  burst = perSecond,
  now: () => number = monotonicMs,
): TokenBucket {
  let tokens = burst
  let at = now()
  const refill = () => {
    const time = now()
    tokens = Math.min(burst, tokens + ((time - at) / 1_000) * perSecond)
    at = time
  }
  return {
    take: (count = 1) => {
      if (perSecond === 0) return true
      refill()
      if (tokens < count) return false
      tokens -= count
      return true
    },
    waitMs: () => {
      if (perSecond === 0) return 0
      refill()
      return tokens >= 1 ? 0 : Math.ceil(((1 - tokens) / perSecond) * 1_000)
    },
  }
}
