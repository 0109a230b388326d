import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from '@parley/service-kit'
import type { ObjectId } from 'mongodb'
import type { Collections, MessageDocument, MessageRow, VoidDocument } from '../database/collections.ts'
import { isVoid } from '../database/collections.ts'
import { type MessagePosition, type MessageStore, sealHoles } from './store.ts'

/** Attempts to find the original of a repeat, and milliseconds between them: it may not be on a majority yet. */
const MAX_LOOKS = 20
const LOOK_PAUSE_MS = 50

export interface OutcomeResolverOptions {
  conversations: Collections['conversations']
  store: Pick<MessageStore, 'seal' | 'byIds' | 'byKey' | 'tails'>
  logger: Pick<Logger, 'warn'>
}

/**
 * Finds out what an insert's answer left open. Everything here is retried until the database answers, because the
 * numbers above can't be given out before; it rejects only when closing down.
 */
export function createOutcomeResolver({ conversations, store, logger }: OutcomeResolverOptions) {
  let closed = false

  /** Retries until the database answers, or this closes down. */
  async function retried<T>(attempt: () => Promise<T>): Promise<T> {
    for (let pause = 50; ; pause = Math.min(pause * 2, 1_000)) {
      try {
        return await attempt()
      } catch (error) {
        if (closed) throw error
        logger.warn({ err: error }, 'the message log waits for the database')
        await delay(pause)
      }
    }
  }

  /** What is at a number, on a majority; if nothing was, a void is stored, so that nothing else can be. */
  const seal = (position: MessagePosition): Promise<MessageRow> => retried(() => store.seal(position))

  return {
    seal,

    /**
     * Rows of one conversation that may be stored, or be stored later: finds those that are there now. The others never
     * will be at their numbers, and may ask for new ones; `voids` take their places.
     */
    async decide(
      rows: readonly MessageDocument[],
    ): Promise<{ stored: Set<MessageDocument>; voids: VoidDocument[] }> {
      const stored = new Set<MessageDocument>()
      const voids: VoidDocument[] = []
      for (const row of rows) {
        const there = await seal(row)
        if (there._id.equals(row._id)) stored.add(row)
        else if (isVoid(there)) voids.push(there)
      }
      return { stored, voids }
    },

    /** The message that holds an idempotency key which the index says is taken; null: it is not visible. */
    original: (cid: ObjectId, author: string, clientMessageId: string): Promise<MessageDocument | null> =>
      retried(async () => {
        for (let look = 0; look < MAX_LOOKS; look++) {
          const found = await store.byKey(cid, author, clientMessageId)
          if (found) return found
          await delay(LOOK_PAUSE_MS)
        }
        return null
      }),

    /** Decides every number below a stored message, since its process may have died before. Returns the voids. */
    below: (row: MessageDocument): Promise<VoidDocument[]> =>
      retried(async () => {
        if (!row.unsettled) return []
        const head = await conversations.findOne({ _id: row.cid }, { projection: { settledSeq: 1 } })
        return head ? (await sealHoles(store, row, head.settledSeq)).filter(isVoid) : []
      }),

    /** The message stored under an id; null: it is not visible. */
    async byId(id: ObjectId): Promise<MessageDocument | null> {
      const [row] = await retried(() => store.byIds([id]))
      return row && !isVoid(row) ? row : null
    },

    close(): void {
      closed = true
    },
  }
}
