import DataLoader from 'dataloader'
import type { ObjectId } from 'mongodb'
import type { Collections, ConversationDocument } from '../database/collections.ts'

/** Most heads in one query. */
const BATCH_SIZE = 100

interface Wanted {
  org: string
  cid: ObjectId
}

/**
 * Heads of conversations, asked for singly, read in batches. The requests of one turn of the event loop share a query
 * per org: nearly every request needs a head, and a query's cost is the command, not the row.
 */
export function createHeads({ conversations }: Pick<Collections, 'conversations'>) {
  const heads = new DataLoader<Wanted, ConversationDocument | null>(read, {
    cache: false,
    maxBatchSize: BATCH_SIZE,
    batchScheduleFn: (dispatch) => void setImmediate(dispatch),
  })

  async function read(wanted: readonly Wanted[]): Promise<(ConversationDocument | null)[]> {
    const found = await Promise.all(
      [...Map.groupBy(wanted, ({ org }) => org)].map(([org, own]) => {
        const ids = new Map(own.map(({ cid }) => [cid.toHexString(), cid]))
        const filter = { _id: { $in: [...ids.values()] }, org, deletedAt: { $exists: false } }
        return conversations.find(filter, { batchSize: BATCH_SIZE }).toArray()
      }),
    )
    // By id and org: another org's head is not found, even if its own org asks for it at the same moment.
    const nameOf = (org: string, cid: ObjectId): string => `${cid.toHexString()} ${org}`
    const headOf = new Map(found.flat().map((head) => [nameOf(head.org, head._id), head]))
    return wanted.map(({ org, cid }) => headOf.get(nameOf(org, cid)) ?? null)
  }

  /** As it is after the call; null: there is none, it is deleted, or another org's. */
  return (org: string, cid: ObjectId): Promise<ConversationDocument | null> => heads.load({ org, cid })
}
