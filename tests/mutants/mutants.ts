import type { Patch } from './workspace.ts'

/** The test that has to notice: one of vitest's, or the short form of a fault row. */
export type Proof = { project: 'unit' | 'blackbox' | 'faults'; file: string; name?: string } | { row: string }

export interface Mutant {
  name: string
  patches: readonly Patch[]
  proof: Proof
}

const tail = 'packages/events/src/tail.test.ts'

export const MUTANTS: readonly Mutant[] = [
  {
    name: 'a lost stream goes unnoticed',
    patches: [
      {
        file: 'packages/events/src/position.ts',
        find: "if (from.epoch !== epoch) return { position, loss: 'wiped' }",
        replace: '',
      },
    ],
    proof: { project: 'unit', file: tail, name: 'two readers of one wiped Redis' },
  },
  {
    name: 'a trimmed stream goes unnoticed',
    patches: [
      {
        file: 'packages/events/src/position.ts',
        find: 'return intact ?',
        replace: 'return intact || cursor ?',
      },
    ],
    proof: { project: 'unit', file: tail, name: 'no event passes in silence' },
  },
  {
    name: 'the cursor stays where it was after a loss',
    patches: [
      {
        file: 'packages/events/src/partition-tail.ts',
        find: 'position = next',
        replace: 'position = position ? { ...next, cursor: position.cursor } : next',
      },
    ],
    proof: { project: 'unit', file: tail, name: 'lower ids issued' },
  },
]
