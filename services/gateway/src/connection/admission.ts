import { createTokenBucket, type TokenBucket } from '@parley/service-kit'
import { LRUCache } from 'lru-cache'

/**
 * Newcomers are asked to come back later when the event loop is this many milliseconds late and was busy for this share
 * of its time. A loop that is late without being busy is short of CPU, and sending people away would not help.
 */
const MAX_DELAY_MS = 400
const MAX_UTILIZATION = 0.8
const SAMPLE_MS = 100
/** Milliseconds without newcomers after which the loop is no longer sampled. */
const QUIET_MS = 5_000
/** Burst and sustained rate of newcomers, even while the loop looks idle: a burst can arrive between two samples. */
const BURST = 1_000
const PER_SECOND = 3_000
/** Refused newcomers come back spread over this time. */
const BACK_MS = { first: 500, max: 4_000 }
/** Most people whose connections are counted; those seen longest ago are dropped first. */
const MAX_PEOPLE = 50_000

export type Admission = ReturnType<typeof createAdmission>

/**
 * Decides who may connect now. A storm of newcomers must not starve those already connected: when the loop runs late,
 * or too many come at once, the rest are sent away briefly, each for a different time.
 */
export function createAdmission({
  connectsPerMinute,
  now = () => performance.now(),
  busyShare = createBusyShare(),
}: {
  connectsPerMinute: number
  /** Milliseconds of a monotonic clock. */
  now?: () => number
  /** Share of the time since the last call during which the loop was busy. */
  busyShare?: () => number
}) {
  const storm = createTokenBucket(PER_SECOND, BURST, now)
  const people = new LRUCache<string, TokenBucket>({ max: MAX_PEOPLE })
  let lateMs = 0
  let busy = 0
  let closed = false
  let newcomerAt = 0
  let expected = 0
  let sampler: NodeJS.Timeout | null = null

  function look(): void {
    const present = now()
    if (present - newcomerAt > QUIET_MS) {
      stop()
      return
    }
    lateMs = Math.max(present - expected, lateMs / 2)
    busy = busyShare()
    expected = present + SAMPLE_MS
  }

  function watch(): void {
    newcomerAt = now()
    if (sampler) return
    lateMs = 0
    busyShare()
    expected = newcomerAt + SAMPLE_MS
    sampler = setInterval(look, SAMPLE_MS).unref()
  }

  function stop(): void {
    if (sampler) clearInterval(sampler)
    sampler = null
  }

  function bucketOf(person: string): TokenBucket {
    let bucket = people.get(person)
    if (!bucket) {
      bucket = createTokenBucket(connectsPerMinute / 60, connectsPerMinute)
      people.set(person, bucket)
    }
    return bucket
  }

  const laterMs = (): number => Math.round(BACK_MS.first + Math.random() * (BACK_MS.max - BACK_MS.first))

  return {
    /** Milliseconds after which somebody who can't be admitted now may try again. */
    laterMs,
    /** Before the caller is known: milliseconds after which to try again, or null. */
    refuse(): number | null {
      if (!closed) watch()
      const isOverloaded = lateMs > MAX_DELAY_MS && busy > MAX_UTILIZATION
      return closed || isOverloaded ? laterMs() : null
    },
    /**
     * The same once the caller is known, which may have taken long; null lets them in. Only those let in use up any of
     * the allowances, the common one and the person's own.
     */
    refusePerson(person: string): number | null {
      if (closed) return laterMs()
      const own = bucketOf(person)
      const waitMs = own.waitMs()
      if (waitMs > 0) return Math.round(waitMs * (1 + Math.random()))
      if (!storm.take()) return laterMs()
      own.take()
      return null
    },
    isClosed: (): boolean => closed,
    /** Admits nobody from now on: this gateway is about to end. */
    close(): void {
      closed = true
      stop()
    },
  }
}

function createBusyShare(): () => number {
  let before = performance.eventLoopUtilization()
  return () => {
    const present = performance.eventLoopUtilization()
    const { utilization } = performance.eventLoopUtilization(present, before)
    before = present
    return utilization
  }
}
