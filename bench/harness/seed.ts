import { type Document, MongoClient, ObjectId } from 'mongodb'

const WORDS =
  'invoice delivery refund ticket account password window parcel garden letter number monday friday winter summer question answer order price meeting'.split(
    ' ',
  )

/** A line of about 80 characters, the same for the same number. */
export const lineOf = (seq: number): string =>
  Array.from(
    { length: 12 },
    (_, i) => WORDS[(seq * 7 + i * i * 3 + ((seq >> (i % 8)) & 7)) % WORDS.length],
  ).join(' ')

/**
 * Fills a conversation that has one message up to `count`, behind the api's back, because sending a million takes too
 * long: copies of that message with the next numbers, and the head as it would then be.
 */
export async function fillConversation(
  mongodbUri: string,
  conversationId: string,
  count: number,
): Promise<void> {
  const mongo = await new MongoClient(mongodbUri).connect()
  try {
    const db = mongo.db()
    const cid = new ObjectId(conversationId)
    const template = await settledMessage(db.collection('messages'), cid)
    const at = Date.now()
    for (let from = template.seq + 1; from <= count; from += 5_000) {
      const size = Math.min(5_000, count - from + 1)
      await db.collection('messages').insertMany(
        Array.from({ length: size }, (_, i) => {
          const { clientMessageId: _key, payloadHash: _hash, ...copy } = template
          return {
            ...copy,
            _id: new ObjectId(),
            seq: from + i,
            content: lineOf(from + i),
            createdAt: new Date(at),
          }
        }),
        { ordered: false, writeConcern: { w: 1 } },
      )
    }
    await db.collection('conversations').updateOne(
      { _id: cid },
      {
        $set: {
          settledSeq: count,
          lastSeq: count,
          messageCount: count,
          summaryCoversSeq: count - (count % 10),
        },
      },
      { writeConcern: { w: 'majority' } },
    )
  } finally {
    await mongo.close()
  }
}

async function settledMessage(
  messages: ReturnType<ReturnType<MongoClient['db']>['collection']>,
  cid: ObjectId,
): Promise<Document & { seq: number }> {
  for (const end = Date.now() + 10_000; Date.now() < end; ) {
    const row = await messages.findOne({ cid, unsettled: { $exists: false } })
    if (row) return { ...row, seq: Number(row.seq) }
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  throw new Error('the first message did not settle within 10 s')
}
