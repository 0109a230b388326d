import type { Message } from '@parley/contract'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createWorld } from './testing/fake-server.ts'
import { createTimeline } from './timeline.ts'

/** `count` messages, of which those in `voids` never came to be. */
function conversation(
  count: number,
  voids: ReadonlySet<number> = new Set(),
): { message: Message; prevSeq: number }[] {
  const world = createWorld()
  for (let i = 0; i < count; i++) world.append({ clientMessageId: null, content: `m${i + 1}` })
  let prevSeq = 0
  return world.messages
    .filter(({ seq }) => !voids.has(seq))
    .map((message) => {
      const entry = { message, prevSeq }
      prevSeq = message.seq
      return entry
    })
}

function recorder() {
  const seen: number[] = []
  const updates: [number, number][] = []
  const reading = { followed: true }
  const timeline = createTimeline({
    isFollowed: () => reading.followed,
    message: ({ seq }) => seen.push(seq),
    update: ({ seq, changeSeq }) => updates.push([seq, changeSeq]),
  })
  return { seen, updates, timeline, reading }
}

describe('timeline', () => {
  it('hands out each message once, in order, whatever is lost, doubled or shuffled on the way', () => {
    const step = fc.record({
      kind: fc.constantFrom('live', 'page'),
      at: fc.nat(59),
      size: fc.integer({ min: 1, max: 20 }),
    })
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 120 }),
        fc.uniqueArray(fc.integer({ min: 1, max: 59 })),
        (steps, gone) => {
          const log = conversation(60, new Set(gone))
          const { seen, timeline } = recorder()
          for (const { kind, at, size } of steps) {
            if (kind === 'live') {
              const entry = log[at % log.length]
              if (entry) timeline.live(entry.message, entry.prevSeq)
            } else {
              timeline.page(
                log
                  .filter(({ message }) => message.seq > timeline.seq)
                  .slice(0, size)
                  .map(({ message }) => message),
              )
            }
            expect(seen).toEqual(log.slice(0, seen.length).map(({ message }) => message.seq))
          }
          timeline.page(log.map(({ message }) => message))
          expect(seen).toEqual(log.map(({ message }) => message.seq))
          expect(timeline.missingUpTo).toBe(0)
        },
      ),
    )
  })

  it('says up to where messages are missing', () => {
    const log = conversation(5)
    const { seen, timeline } = recorder()
    const live = (seq: number) => {
      const entry = log[seq - 1]
      return entry ? timeline.live(entry.message, entry.prevSeq) : true
    }
    expect([live(1), live(4), live(5)]).toEqual([true, false, false])
    expect(timeline.missingUpTo).toBe(4)
    expect([live(2), live(3)]).toEqual([true, true])
    expect(seen).toEqual([1, 2, 3, 4, 5])
  })

  it('never lets an old state follow a newer one', () => {
    const [entry] = conversation(1)
    if (!entry) throw new Error('no message')
    const { updates, timeline } = recorder()
    timeline.page([entry.message])
    for (const changeSeq of [2, 1, 2, 3]) timeline.changed({ ...entry.message, changeSeq })
    expect(updates).toEqual([
      [1, 2],
      [1, 3],
    ])
  })

  it('hands a message out in the state that overtook it', () => {
    const [entry] = conversation(1)
    if (!entry) throw new Error('no message')
    const states: number[] = []
    const timeline = createTimeline({
      isFollowed: () => true,
      message: ({ changeSeq }) => states.push(changeSeq),
      update: () => states.push(-1),
    })
    timeline.changed({ ...entry.message, changeSeq: 1 })
    timeline.live(entry.message, 0)
    expect(states).toEqual([1])
  })

  it('resumes behind a change that a newer one of the same message stood in for', () => {
    const { timeline } = recorder()
    const log = conversation(2)
    timeline.page(log.map(({ message }) => message))
    const [first, second] = log
    if (!first || !second) throw new Error('no messages')
    // Change 1 of the first message arrives as its state after change 3; change 2 is still on the way.
    timeline.changed({ ...first.message, changeSeq: 3 })
    expect(timeline.changeSeq).toBe(0)
    timeline.changed({ ...second.message, changeSeq: 2 })
    expect(timeline.changeSeq).toBe(0)
    timeline.changesThrough(3)
    expect(timeline.changeSeq).toBe(3)
  })
})
