import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createSequencer, type Output } from './sequencer.ts'

const START = { seq: 0, stored: 0, change: 0 }
const seqsOf = (out: Output<string, string>[]) =>
  out.flatMap((item) => (item.kind === 'message' ? [item.seq] : []))
const changesOf = (out: Output<string, string>[]) =>
  out.flatMap((item) => (item.kind === 'change' ? [item.change] : []))

describe('sequencer', () => {
  it('holds what comes too early, and gives each message the seq before it', () => {
    const sequencer = createSequencer<string, string>(START)
    sequencer.message(2, 'b')
    expect(sequencer.take()).toEqual([])
    expect(sequencer.waiting()).toBe(true)
    sequencer.void(1)
    expect(sequencer.take()).toEqual([{ kind: 'message', seq: 2, prevSeq: 0, message: 'b' }])
    sequencer.message(3, 'c')
    expect(sequencer.take()).toEqual([{ kind: 'message', seq: 3, prevSeq: 2, message: 'c' }])
    expect(sequencer.waiting()).toBe(false)
  })

  it('keeps a change back until the message that it is about is out', () => {
    const sequencer = createSequencer<string, string>(START)
    sequencer.change({ change: 1, payload: 'edit of 2', about: 2 })
    expect(sequencer.take()).toEqual([])
    expect(sequencer.waiting()).toBe(true)
    sequencer.message(1, 'a')
    sequencer.message(2, 'b')
    expect(sequencer.take().map(({ kind }) => kind)).toEqual(['message', 'message', 'change'])
  })

  it('takes a number without a message in a fill for void', () => {
    const sequencer = createSequencer<string, string>(START)
    sequencer.message(4, 'd')
    sequencer.fill({ messages: [{ seq: 1, message: 'a' }], throughSeq: 3, changes: [], throughChange: 0 })
    expect(seqsOf(sequencer.take())).toEqual([1, 4])
    expect(sequencer.position().stored).toBe(4)
  })

  it('skips changes that a fill replaces by a later one', () => {
    const sequencer = createSequencer<string, string>(START)
    sequencer.change({ change: 5, payload: 'five' })
    sequencer.fill({
      messages: [],
      throughSeq: 0,
      changes: [{ change: 4, payload: 'four' }],
      throughChange: 4,
    })
    expect(changesOf(sequencer.take())).toEqual([4, 5])
  })

  it('waits for what it knows only by number', () => {
    const sequencer = createSequencer<string, string>(START)
    sequencer.hint({ seq: 1 })
    expect(sequencer.waiting()).toBe(true)
    sequencer.message(1, 'a')
    sequencer.take()
    expect(sequencer.waiting()).toBe(false)
  })

  it('leaves out what lies before the position it jumps to', () => {
    const sequencer = createSequencer<string, string>(START)
    sequencer.message(3, 'c')
    sequencer.message(11, 'k')
    sequencer.jump({ seq: 10, stored: 9, change: 4 })
    expect(sequencer.take()).toEqual([{ kind: 'message', seq: 11, prevSeq: 9, message: 'k' }])
    expect(sequencer.held()).toBe(0)
  })

  it('whatever is lost, doubled or late: each goes out once, in order, and nothing is missing after a fill', () => {
    fc.assert(
      fc.property(histories, ({ stored, changes, deliveries }) => {
        const sequencer = createSequencer<string, string>(START)
        const out: Output<string, string>[] = []
        const isStored = (seq: number) => stored[seq - 1] === true
        const through = stored.length
        for (const delivery of deliveries) {
          if (delivery.kind === 'message') {
            const seq = (delivery.at % through) + 1
            if (isStored(seq)) sequencer.message(seq, `m${seq}`)
            else sequencer.void(seq)
          } else if (delivery.kind === 'change') {
            const change = (delivery.at % changes.length) + 1
            sequencer.change(inputOf(change))
          } else if (delivery.kind === 'drop') sequencer.drop()
          else {
            // The api's answer, from the position on, up to some number; changes collapsed to the latest per message.
            const { seq, change } = sequencer.position()
            const upTo = Math.max(seq, (delivery.at % through) + 1)
            sequencer.fill({
              messages: range(seq + 1, upTo)
                .filter(isStored)
                .map((n) => ({ seq: n, message: `m${n}` })),
              throughSeq: upTo,
              changes: latestAfter(change).map(inputOf),
              throughChange: changes.length,
            })
          }
          out.push(...sequencer.take())
          checkOrder(out)
        }
        sequencer.fill({
          messages: range(1, through)
            .filter(isStored)
            .map((n) => ({ seq: n, message: `m${n}` })),
          throughSeq: through,
          changes: latestAfter(sequencer.position().change).map(inputOf),
          throughChange: changes.length,
        })
        out.push(...sequencer.take())
        checkOrder(out)
        expect(seqsOf(out)).toEqual(range(1, through).filter(isStored))
        // Of everything that changed, at least the latest change was told.
        expect(changesOf(out)).toEqual(expect.arrayContaining(latestAfter(0)))
        expect(sequencer.waiting()).toBe(false)
        expect(sequencer.position()).toMatchObject({ seq: through, change: changes.length })

        function inputOf(change: number) {
          return { change, payload: `c${change}`, about: aboutOf(change) }
        }
        function aboutOf(change: number): number {
          const stores = range(1, through).filter(isStored)
          return stores[(changes[change - 1] ?? 0) % Math.max(1, stores.length)] ?? 0
        }
        function latestAfter(after: number): number[] {
          const latest = new Map<number, number>()
          for (const change of range(1, changes.length)) latest.set(aboutOf(change), change)
          return [...latest.values()].filter((change) => change > after).sort((a, b) => a - b)
        }
        function checkOrder(items: Output<string, string>[]) {
          let seq = 0
          let change = 0
          for (const item of items) {
            if (item.kind === 'message') {
              expect(item.prevSeq).toBe(seq)
              expect(item.seq).toBeGreaterThan(seq)
              seq = item.seq
            } else {
              expect(item.change).toBeGreaterThan(change)
              expect(aboutOf(item.change)).toBeLessThanOrEqual(seq)
              change = item.change
            }
          }
        }
      }),
      { numRuns: 500 },
    )
  })
})

const range = (from: number, to: number): number[] =>
  Array.from({ length: Math.max(0, to - from + 1) }, (_, index) => from + index)

const histories = fc.record({
  /** By seq: a message, or void. */
  stored: fc.array(fc.boolean(), { minLength: 1, maxLength: 20 }),
  /** By number: the message it is about. */
  changes: fc.array(fc.nat(30), { minLength: 1, maxLength: 12 }),
  deliveries: fc.array(
    fc.record({ kind: fc.constantFrom('message', 'change', 'fill', 'drop'), at: fc.nat(100) }),
    {
      maxLength: 60,
    },
  ),
})
