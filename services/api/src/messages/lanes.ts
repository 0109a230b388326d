import type { Message, ProblemError } from '@parley/contract'
import type { ObjectId } from 'mongodb'
import type { MessageDocument } from '../database/collections.ts'
import type { MessageDraft } from './message.ts'

/** Most lanes remembered; beyond that, quiet ones are forgotten. */
const MAX_LANES = 20_000

/** A message on its way into the log. */
export interface Entry {
  readonly org: string
  readonly draft: MessageDraft
  /** Size of the draft as BSON. */
  readonly bytes: number
  /** An admin may read where it takes no part, so it learns `forbidden` there, not `not_found`. */
  readonly admin: boolean
  /** Repeats that came while it was under way; they share its outcome. */
  readonly followers: Entry[]
  resolve(result: Appended): void
  reject(problem: ProblemError): void
  /** Answered: refused, stored, or given up on. A send given up on before it has a number is never stored. */
  done: boolean
}

export interface Appended {
  row: MessageDocument
  message: Message
  /** `message` as JSON text. */
  json: string
  /** false: a repeat; `message` is the original. */
  created: boolean
}

/**
 * The sends of one org to one conversation in this process: one batch in flight, the rest waiting for the next. What
 * another org sends there is not theirs to see, and is refused in a lane of its own.
 */
export interface Lane {
  readonly id: string
  readonly cid: ObjectId
  waiting: Entry[]
  busy: boolean
  /** Entries in flight or waiting, by author and idempotency key. */
  readonly keys: Map<string, Entry>
  /** The last number known to be stored or void with all below it; undefined: use the head's. */
  known: { seq: number; agentRun: number } | undefined
  /** Another process numbers messages here too: read the tail before the next number. */
  contended: boolean
  /** Batches in a row of which nothing was stored. */
  setbacks: number
}

/** Joins the two into a key: neither holds control characters, such as the line break between them. */
export const idempotencyName = (author: string, clientMessageId: string): string =>
  `${clientMessageId}\n${author}`

/** All lanes of this process. */
export function createLanes() {
  const lanes = new Map<string, Lane>()

  return {
    of(org: string, cid: ObjectId): Lane {
      const id = cid.toHexString()
      const name = `${id} ${org}`
      const known = lanes.get(name)
      if (known) return known
      const lane: Lane = {
        id,
        cid,
        waiting: [],
        busy: false,
        keys: new Map(),
        known: undefined,
        contended: false,
        setbacks: 0,
      }
      lanes.set(name, lane)
      forgetSome()
      return lane
    },
    /** Numbers learnt under another primary are not relied on. */
    forgetNumbers(): void {
      for (const lane of lanes.values()) lane.known = undefined
    },
  }

  function forgetSome(): void {
    let looks = 16
    for (const [name, lane] of lanes) {
      if (lanes.size <= MAX_LANES || looks-- === 0) return
      lanes.delete(name)
      // Busy lanes move behind the others, so that the search stays short.
      if (lane.busy || lane.waiting.length > 0) lanes.set(name, lane)
    }
  }
}
