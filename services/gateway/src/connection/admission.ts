import { createTokenBucket, type TokenBucket } from '@parley/service-kit'

/**
 * Newcomers are asked to come back where the event loop is this many milliseconds late, and busy for this share of its
 * time: one that is late without being busy lacks a processor, which nobody gains by sending people away.
 */
const MOST_LATE_MS = 400
const MOST_BUSY = 0.8
const SAMPLE_MS = 100
/** Handshakes at once, within one tick as it were, however idle the loop looked. */
const BURST = 1_000
const PER_SECOND = 3_000
/** Newcomers that were refused come back spread over this time. */
const BACK_MS = { first: 500, most: 4_000 }
const MOST_PEOPLE = 50_000

export type Admission = ReturnType<typeof createAdmission>

/**
 * Who may connect now. A storm of newcomers must not take the loop from those who are connected: when it runs late,
 * or too many come at once, the rest are sent away for a moment, each for another time.
 */
export function createAdmission({ connectsPerMinute }: { connectsPerMinute: number }) {
  const storm = createTokenBucket(PER_SECOND, BURST)
  const people = new Map<string, TokenBucket>()
  let lateMs = 0
  let busy = 0
  let usage = performance.eventLoopUtilization()
  let closed = false
  let expected = performance.now() + SAMPLE_MS
  const sampler = setInterval(() => {
    const now = performance.now()
    lateMs = Math.max(now - expected, lateMs / 2)
    const present = performance.eventLoopUtilization()
    busy = performance.eventLoopUtilization(present, usage).utilization
    usage = present
    expected = now + SAMPLE_MS
  }, SAMPLE_MS).unref()

  const laterMs = (): number => Math.round(BACK_MS.first + Math.random() * (BACK_MS.most - BACK_MS.first))

  return {
    /** Milliseconds after which somebody who can't be admitted now may try again. */
    laterMs,
    /** Milliseconds after which to try again, or null: come in. */
    refuse(): number | null {
      const isOverloaded = lateMs > MOST_LATE_MS && busy > MOST_BUSY
      if (!closed && !isOverloaded && storm.take()) return null
      return laterMs()
    },
    /** The same for one person, who may connect so many times a minute. */
    refusePerson(person: string): number | null {
      if (connectsPerMinute === 0) return null
      let bucket = people.get(person)
      if (!bucket) {
        if (people.size >= MOST_PEOPLE) people.clear()
        bucket = createTokenBucket(connectsPerMinute / 60, connectsPerMinute)
        people.set(person, bucket)
      }
      return bucket.take() ? null : Math.round(bucket.waitMs() * (1 + Math.random()))
    },
    /** No more newcomers: this gateway is about to end. */
    close(): void {
      closed = true
      clearInterval(sampler)
    },
  }
}
