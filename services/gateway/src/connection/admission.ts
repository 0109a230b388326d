import { createTokenBucket, type TokenBucket } from '@parley/service-kit'
import { LRUCache } from 'lru-cache'

/**
 * Newcomers are asked to come back where the event loop is this many milliseconds late, and busy for this share of its
 * time: one that is late without being busy lacks a processor, and sending people away gives it none.
 */
const MAX_DELAY_MS = 400
const MAX_UTILIZATION = 0.8
const SAMPLE_MS = 100
/** Milliseconds without newcomers after which nobody looks at the loop any more. */
const QUIET_MS = 5_000
/** Burst and sustained rate of newcomers, also while the loop looks idle: a burst can arrive between two samples. */
const BURST = 1_000
const PER_SECOND = 3_000
/** Newcomers that were refused come back spread over this time. */
const BACK_MS = { first: 500, max: 4_000 }
/** People whose connections are counted, at most; the ones seen longest ago go first. */
const MAX_PEOPLE = 50_000

export type Admission = ReturnType<typeof createAdmission>

/**
 * Who may connect now. A storm of newcomers must not take the loop from those who are connected: when it runs late,
 * or too many come at once, the rest are sent away for a moment, each for another time.
 */
export function createAdmission({
  connectsPerMinute,
  now = () => performance.now(),
  busyShare = createBusyShare(),
}: {
  connectsPerMinute: number
  /** Milliseconds of a monotonic clock. */
  now?: () => number
  /** Share of its time, since it was last asked, in which the loop was busy. */
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
    /** Before it is known who comes: milliseconds after which to try again, or null. */
    refuse(): number | null {
      if (!closed) watch()
      const isOverloaded = lateMs > MAX_DELAY_MS && busy > MAX_UTILIZATION
      return closed || isOverloaded ? laterMs() : null
    },
    /**
     * The same once it is known who comes, which may have taken long; null lets them in. Only who is let in takes
     * something: of what all newcomers may, and of what the person may.
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
    /** No more newcomers: this gateway is about to end. */
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
