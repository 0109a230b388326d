import type { Caller, Me } from '@parley/contract'
import { participantKey } from '@parley/contract'
import type { ObjectId } from 'mongodb'
import type { Database } from '../database/client.ts'
import { endWith } from '../messages/fold.ts'

interface Row {
  cid: ObjectId
  readSeq: number
  settledSeq: number
  lastSeq: number
}

export type UnreadTotals = ReturnType<typeof createUnreadTotals>

/** How many conversations of a caller hold unread messages, and how many messages these are. Two queries. */
export function createUnreadTotals({ client, participants, messages }: Database) {
  return async (caller: Caller): Promise<Me['unread']> => {
    await using session = client.startSession({ snapshot: true })
    const rows = await participants
      .aggregate<Row>(
        [
          { $match: { org: caller.orgId, key: participantKey(caller) } },
          {
            $lookup: {
              from: 'conversations',
              localField: 'cid',
              foreignField: '_id',
              as: 'head',
              pipeline: [{ $project: { settledSeq: 1, lastSeq: 1 } }],
            },
          },
          { $unwind: '$head' },
          {
            $project: {
              _id: 0,
              cid: 1,
              readSeq: 1,
              settledSeq: '$head.settledSeq',
              lastSeq: '$head.lastSeq',
            },
          },
        ],
        { session },
      )
      .toArray()
    const tails = await messages
      .find(
        { unsettled: true, cid: { $in: rows.map(({ cid }) => cid) } },
        { session, projection: { _id: 0, cid: 1, seq: 1, void: 1 } },
      )
      .sort({ cid: 1, seq: 1 })
      .toArray()
    const tailOf = Map.groupBy(tails, ({ cid }) => cid.toHexString())
    let conversations = 0
    let unread = 0
    for (const { cid, readSeq, ...head } of rows) {
      const tail = (tailOf.get(cid.toHexString()) ?? []).filter(({ seq }) => seq > head.settledSeq)
      const count = Math.max(0, endWith(head, tail).lastSeq - readSeq)
      if (count > 0) conversations++
      unread += count
    }
    return { conversations, messages: unread }
  }
}
