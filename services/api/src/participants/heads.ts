import type { ObjectId } from 'mongodb'
import type { Collections, ConversationDocument } from '../database/collections.ts'

/** Heads in one query at most. */
const BATCH_SIZE = 100

interface Waiting {
  cid: ObjectId
  resolve(head: ConversationDocument | null): void
  reject(error: unknown): void
}

/**
 * Heads of conversations, one by one for who asks. The requests of one turn of the event loop share a query for each
 * org: nearly every request needs a head, and what a query costs is the command, not the row.
 */
export function createHeads({ conversations }: Pick<Collections, 'conversations'>) {
  const gathering = new Map<string, Waiting[]>()

  async function read(org: string, batch: readonly Waiting[]): Promise<void> {
    try {
      const ids = new Map(batch.map(({ cid }) => [cid.toHexString(), cid]))
      const found = await conversations
        .find(
          { _id: { $in: [...ids.values()] }, org, deletedAt: { $exists: false } },
          { batchSize: BATCH_SIZE },
        )
        .toArray()
      const headOf = new Map(found.map((head) => [head._id.toHexString(), head]))
      for (const { cid, resolve } of batch) resolve(headOf.get(cid.toHexString()) ?? null)
    } catch (error) {
      for (const { reject } of batch) reject(error)
    }
  }

  function depart(): void {
    for (const [org, waiting] of gathering) {
      for (let at = 0; at < waiting.length; at += BATCH_SIZE) {
        void read(org, waiting.slice(at, at + BATCH_SIZE))
      }
    }
    gathering.clear()
  }

  /** As it is after the call; null: there is none, it is deleted, or another org's. */
  return (org: string, cid: ObjectId): Promise<ConversationDocument | null> =>
    new Promise((resolve, reject) => {
      if (gathering.size === 0) setImmediate(depart)
      const waiting = gathering.get(org)
      if (waiting) waiting.push({ cid, resolve, reject })
      else gathering.set(org, [{ cid, resolve, reject }])
    })
}
