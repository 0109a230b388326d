import { type Db, type IndexDescription, MongoServerError } from 'mongodb'

type Named = IndexDescription & { name: string }

/** The rows of a participant, by activity. A query in that order names `inactive`, if need be as {@link ANY_STATUS}. */
export const OWN_ROWS = { org: 1, key: 1, inactive: 1, activityAt: -1, cid: -1 } as const
export const ANY_STATUS = { $in: [null, true] } as unknown as { $in: true[] }

/** All indexes, by collection. The name is the version: a changed index gets a new name, and the old one is dropped. */
const INDEXES: Record<string, Named[]> = {
  conversations: [
    {
      name: 'externalId.1',
      key: { org: 1, externalId: 1 },
      unique: true,
      partialFilterExpression: { externalId: { $exists: true } },
    },
    {
      name: 'auto.1',
      key: { org: 1, agentId: 1 },
      unique: true,
      partialFilterExpression: { auto: true },
    },
    { name: 'updated.2', key: { org: 1, deletedAt: 1, updatedAt: -1, _id: -1 } },
    { name: 'agent.2', key: { org: 1, agentId: 1, deletedAt: 1, updatedAt: -1, _id: -1 } },
    {
      name: 'summaryDue.1',
      key: { summaryDue: 1, updatedAt: 1 },
      partialFilterExpression: { summaryDue: true },
    },
  ],
  participants: [
    { name: 'member.1', key: { cid: 1, key: 1 }, unique: true },
    { name: 'joined.1', key: { cid: 1, joinedAt: 1, _id: 1 } },
    { name: 'mine.2', key: OWN_ROWS },
  ],
  messages: [
    { name: 'seq.1', key: { cid: 1, seq: 1 }, unique: true },
    {
      name: 'clientMessageId.1',
      key: { cid: 1, author: 1, clientMessageId: 1 },
      unique: true,
      partialFilterExpression: { clientMessageId: { $exists: true } },
    },
    {
      name: 'unsettled.1',
      key: { unsettled: 1, cid: 1, seq: 1 },
      partialFilterExpression: { unsettled: true },
    },
    {
      name: 'change.1',
      key: { cid: 1, changeSeq: 1 },
      partialFilterExpression: { changeSeq: { $exists: true } },
    },
    {
      name: 'thread.1',
      key: { parentId: 1, seq: 1 },
      partialFilterExpression: { parentId: { $exists: true } },
    },
    {
      // Rare roles only; a page of the common ones is quickly found without an index.
      name: 'role.1',
      key: { cid: 1, role: 1, seq: 1 },
      partialFilterExpression: { role: { $in: ['system', 'tool'] } },
    },
    {
      name: 'attachments.1',
      key: { cid: 1, seq: 1, attachments: 1 },
      partialFilterExpression: { 'attachments.0': { $exists: true } },
    },
    {
      name: 'streaming.1',
      key: { streamedAt: 1 },
      partialFilterExpression: { streamedAt: { $exists: true } },
    },
  ],
  outbox: [
    { name: 'age.1', key: { createdAt: 1 } },
    { name: 'change.1', key: { cid: 1, change: 1 } },
  ],
  searchTerms: [{ name: 'terms.1', key: { cid: 1, terms: 1, seq: -1 } }],
  audit: [{ name: 'change.1', key: { cid: 1, changeSeq: -1, _id: -1 } }],
  revocations: [{ name: 'age.1', key: { createdAt: 1 } }],
  summaries: [{ name: 'through.1', key: { cid: 1, throughSeq: -1 }, unique: true }],
}

const INDEX_NOT_FOUND = 27

/** Our names end in a version. Any other index was made by an operator. */
const OURS = /\.\d+$/

/** Creates missing indexes and drops ours that are no longer listed. Safe to run from many processes at once. */
export async function ensureIndexes(db: Db): Promise<void> {
  await Promise.all(
    Object.entries(INDEXES).map(async ([name, indexes]) => {
      const collection = db.collection(name)
      await collection.createIndexes(indexes)
      const wanted = new Set(indexes.map((index) => index.name))
      for (const { name: existing } of await collection.indexes()) {
        if (!existing || !OURS.test(existing) || wanted.has(existing)) continue
        await collection.dropIndex(existing).catch((error: unknown) => {
          // Another process that starts was faster.
          if (!(error instanceof MongoServerError) || error.code !== INDEX_NOT_FOUND) throw error
        })
      }
    }),
  )
}
