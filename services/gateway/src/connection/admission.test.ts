import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { createAdmission } from './admission.ts'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

/** Admission on an event loop that is as late and as busy as the test says. */
function open() {
  let time = 0
  let share = 0
  const admission = createAdmission({ connectsPerMinute: 0, now: () => time, busyShare: () => share })
  return {
    admission,
    /** Lets milliseconds pass; the loop runs its timers this much later, having been this busy. */
    pass(ms: number, { lateMs = 0, busy = 0 } = {}): void {
      share = busy
      time += ms + lateMs
      vi.advanceTimersByTime(ms)
    },
    isIn: () => (admission.refuse() ?? admission.refusePerson('ada')) === null,
  }
}

test('a thousand newcomers at once may come in, and then three thousand a second', () => {
  const { admission, pass, isIn } = open()
  expect(Array.from({ length: 1_000 }, isIn)).not.toContain(false)
  expect(isIn()).toBe(false)
  pass(100)
  expect(Array.from({ length: 301 }, isIn).filter(Boolean)).toHaveLength(300)
  admission.close()
})

test('newcomers to a loop that is late and busy are sent away, each for a different time', () => {
  const { admission, pass, isIn } = open()
  expect(isIn()).toBe(true)
  pass(100, { lateMs: 401, busy: 0.81 })
  const times = Array.from({ length: 100 }, () => admission.refuse())
  for (const ms of times) expect(ms).toSatisfy((is: number) => is >= 500 && is <= 4_000)
  expect(new Set(times).size).toBeGreaterThan(50)
  expect(Math.max(...times.map(Number)) - Math.min(...times.map(Number))).toBeGreaterThan(1_000)
  admission.close()
})

test.for([
  ['late and idle: it lacks a processor', { lateMs: 2_000, busy: 0.8 }],
  ['busy and on time', { lateMs: 400, busy: 1 }],
] as const)('a loop that is %s admits newcomers', ([, state]) => {
  const { admission, pass, isIn } = open()
  isIn()
  pass(100, state)
  expect(isIn()).toBe(true)
  admission.close()
})

test('lateness is forgotten once the loop is on time again', () => {
  const { admission, pass, isIn } = open()
  isIn()
  pass(100, { lateMs: 1_000, busy: 1 })
  expect(isIn()).toBe(false)
  pass(100, { busy: 1 })
  expect(isIn()).toBe(false)
  pass(100, { busy: 1 })
  expect(isIn()).toBe(true)
  admission.close()
})

test('the loop is sampled while newcomers come, and left alone otherwise', () => {
  const { admission, pass, isIn } = open()
  expect(vi.getTimerCount()).toBe(0)
  isIn()
  expect(vi.getTimerCount()).toBe(1)
  pass(4_900)
  isIn()
  pass(4_900)
  expect(vi.getTimerCount()).toBe(1)
  pass(300)
  expect(vi.getTimerCount()).toBe(0)
  // However late the loop was meanwhile, the next newcomer starts afresh.
  pass(60_000, { lateMs: 60_000, busy: 1 })
  expect(isIn()).toBe(true)
  admission.close()
  expect(vi.getTimerCount()).toBe(0)
})

test('a person who has used up their connections stays out however many others come', () => {
  let time = 0
  const admission = createAdmission({ connectsPerMinute: 1, now: () => time++ })
  expect(admission.refusePerson('ada')).toBeNull()
  for (let n = 0; n < 60_000; n++) {
    admission.refusePerson(`person ${n}`)
    if (n % 10_000 === 0) expect(admission.refusePerson('ada')).toBeGreaterThan(0)
  }
})

test('whoever is sent away by the crowd may still come as often as before', () => {
  const admission = createAdmission({ connectsPerMinute: 1, now: () => 0 })
  for (let n = 0; n < 1_000; n++) expect(admission.refusePerson(`person ${n}`)).toBeNull()
  // As many have come as may come at once.
  for (let n = 0; n < 3; n++) expect(admission.refusePerson('ada')).toBeLessThanOrEqual(4_000)
})

test('newcomers to a gateway that is about to end are sent elsewhere', () => {
  const { admission, isIn } = open()
  admission.close()
  expect(isIn()).toBe(false)
  expect(vi.getTimerCount()).toBe(0)
})

test('newcomers whose token is still being verified as the gateway begins to end are sent elsewhere too', () => {
  const { admission, isIn } = open()
  expect(isIn()).toBe(true)
  expect(admission.refusePerson('ada')).toBe(null)
  admission.close()
  expect(admission.refusePerson('ada')).toBeGreaterThanOrEqual(500)
})
