/** Where a reader stands in a conversation's two sequences. */
export interface Position {
  /** Every number up to here is out, or void. */
  seq: number
  /** Seq of the last message that went out; 0: none. */
  stored: number
  /** Every change up to here is out, or covered by a later one. */
  change: number
}

/** What comes next: a message, with the seq of the stored message before it, or a change. */
export type Output<M, C> =
  | { kind: 'message'; seq: number; prevSeq: number; message: M }
  | { kind: 'change'; change: number; payload: C }

export interface ChangeInput<C> {
  change: number
  payload: C
  /** Seq of the message that it is about; it waits until that is out. */
  about?: number
}

export interface FillInput<M, C> {
  messages: readonly { seq: number; message: M }[]
  /** Every seq up to here is among the messages, was known before, or is void. */
  throughSeq: number
  changes: readonly ChangeInput<C>[]
  /** Every change up to here is among the changes, or covered by a later one of them. */
  throughChange: number
}

export type Sequencer<M, C> = ReturnType<typeof createSequencer<M, C>>

const VOID = Symbol('void')

/**
 * Puts in order what arrives about one conversation, in any order and any number of times. Messages go out by rising
 * seq and changes by rising number, each once, and nothing beyond a gap; a gap ends with the missing entries or with a
 * fill. Pure: no clock, no I/O.
 */
export function createSequencer<M, C>(start: Position) {
  const position: Position = { ...start }
  const messages = new Map<number, M | typeof VOID>()
  const changes = new Map<number, ChangeInput<C>>()
  /** Up to here, a seq without a message is void, and a missing change is covered by a later one. */
  let filledSeq = start.seq
  let filledChange = start.change
  /** Highest numbers heard of. */
  let knownSeq = start.seq
  let knownChange = start.change

  function message(seq: number, value: M): void {
    knownSeq = Math.max(knownSeq, seq)
    if (seq > position.seq) messages.set(seq, value)
  }

  function change(input: ChangeInput<C>): void {
    knownChange = Math.max(knownChange, input.change)
    if (input.change > position.change && !changes.has(input.change)) changes.set(input.change, input)
  }

  return {
    message,
    change,
    /** A number that no message will ever have. */
    void(seq: number): void {
      knownSeq = Math.max(knownSeq, seq)
      if (seq > position.seq && !messages.has(seq)) messages.set(seq, VOID)
    },
    /** A number known only to exist: a gap until it is filled. */
    hint({ seq = 0, change = 0 }: { seq?: number; change?: number }): void {
      knownSeq = Math.max(knownSeq, seq)
      knownChange = Math.max(knownChange, change)
    },
    fill(input: FillInput<M, C>): void {
      for (const item of input.messages) message(item.seq, item.message)
      for (const item of input.changes) change(item)
      filledSeq = Math.max(filledSeq, input.throughSeq)
      filledChange = Math.max(filledChange, input.throughChange)
      knownSeq = Math.max(knownSeq, filledSeq)
      knownChange = Math.max(knownChange, filledChange)
    },
    /** Continues from a later position, leaving out what lies between. */
    jump(to: Position): void {
      if (to.seq > position.seq) {
        position.seq = to.seq
        position.stored = Math.max(position.stored, to.stored)
      }
      position.change = Math.max(position.change, to.change)
      for (const seq of messages.keys()) if (seq <= position.seq) messages.delete(seq)
      for (const number of changes.keys()) if (number <= position.change) changes.delete(number)
      filledSeq = Math.max(filledSeq, position.seq)
      filledChange = Math.max(filledChange, position.change)
      knownSeq = Math.max(knownSeq, filledSeq)
      knownChange = Math.max(knownChange, filledChange)
    },
    /** Drops what is held behind a gap, remembering only that it exists. */
    drop(): void {
      for (const seq of messages.keys()) if (seq > filledSeq) messages.delete(seq)
      for (const number of changes.keys()) if (number > filledChange) changes.delete(number)
    },
    /** What can go out now, in order. */
    take(): Output<M, C>[] {
      const out: Output<M, C>[] = []
      while (messages.size > 0 || position.seq < filledSeq) {
        const seq = position.seq + 1
        const next = messages.get(seq)
        if (next === undefined) {
          if (seq > filledSeq) break
        } else {
          messages.delete(seq)
          if (next !== VOID) {
            out.push({ kind: 'message', seq, prevSeq: position.stored, message: next })
            position.stored = seq
          }
        }
        position.seq = seq
      }
      while (changes.size > 0 || position.change < filledChange) {
        const number = position.change + 1
        const next = changes.get(number)
        if (next === undefined) {
          if (number > filledChange) break
        } else {
          if ((next.about ?? 0) > position.seq) {
            knownSeq = Math.max(knownSeq, next.about ?? 0)
            break
          }
          changes.delete(number)
          out.push({ kind: 'change', change: number, payload: next.payload })
        }
        position.change = number
      }
      return out
    },
    /** Whether more is known to exist than is out. */
    waiting: (): boolean => knownSeq > position.seq || knownChange > position.change,
    /** Messages and changes held behind a gap. */
    held: (): number => messages.size + changes.size,
    position: (): Readonly<Position> => position,
    /** Highest numbers heard of. */
    known: (): { seq: number; change: number } => ({ seq: knownSeq, change: knownChange }),
  }
}
