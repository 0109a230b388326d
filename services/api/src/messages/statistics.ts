import { parseParticipantKey } from '@parley/contract'
import type { ObjectId } from 'mongodb'
import type { Collections } from '../database/collections.ts'

interface Group {
  _id: { author: string; role: string; type: string; deleted: boolean }
  count: number
  input: number
  output: number
  total: number
  cost: number
  withAttachments: number
  attachments: number
  firstAt: Date | null
  lastAt: Date | null
}

/** So many aggregations share a conversation: MongoDB gives each a single core, and others are to have some too. */
const PARTS = 2

/**
 * Figures of one conversation up to `throughSeq`. Deleted messages are left out of every count; their tokens and cost
 * stay, because they were spent.
 */
export async function statistics(messages: Collections['messages'], cid: ObjectId, throughSeq: number) {
  const size = Math.ceil(throughSeq / PARTS)
  const parts = Array.from({ length: PARTS }, (_, part) =>
    aggregate(messages, cid, part * size, Math.min((part + 1) * size, throughSeq)),
  )
  const groups = (await Promise.all(parts)).flat()
  const live = groups.filter(({ _id }) => !_id.deleted)
  const sum = (
    of: readonly Group[],
    field: 'count' | 'input' | 'output' | 'total' | 'cost' | 'withAttachments' | 'attachments',
  ) => of.reduce((total, group) => total + group[field], 0)
  const countBy = (field: 'role' | 'type') =>
    Object.fromEntries(
      [...Map.groupBy(live, ({ _id }) => _id[field])].map(([name, own]) => [name, sum(own, 'count')]),
    )
  const times = live
    .flatMap(({ firstAt, lastAt }) => [firstAt, lastAt])
    .flatMap((at) => (at ? [at.getTime()] : []))
  return {
    total: sum(live, 'count'),
    byRole: countBy('role'),
    byType: countBy('type'),
    byParticipant: [...Map.groupBy(groups, ({ _id }) => _id.author)]
      .map(([author, own]) => ({
        ...parseParticipantKey(author),
        messages: sum(
          own.filter(({ _id }) => !_id.deleted),
          'count',
        ),
        tokens: sum(own, 'total'),
        cost: sum(own, 'cost') / 1e6,
      }))
      .sort((a, b) => b.messages - a.messages),
    tokens: { input: sum(groups, 'input'), output: sum(groups, 'output'), total: sum(groups, 'total') },
    cost: sum(groups, 'cost') / 1e6,
    withAttachments: sum(live, 'withAttachments'),
    attachments: sum(live, 'attachments'),
    firstAt: times.length === 0 ? null : new Date(Math.min(...times)).toISOString(),
    lastAt: times.length === 0 ? null : new Date(Math.max(...times)).toISOString(),
  }
}

/** The messages above one number and up to another, by what they are counted as. */
function aggregate(messages: Collections['messages'], cid: ObjectId, above: number, through: number) {
  return messages
    .aggregate<Group>([
      { $match: { cid, seq: { $gt: above, $lte: through }, void: { $exists: false } } },
      {
        $group: {
          _id: { author: '$author', role: '$role', type: '$type', deleted: { $gt: ['$deletedAt', null] } },
          count: { $sum: 1 },
          input: { $sum: '$usage.inputTokens' },
          output: { $sum: '$usage.outputTokens' },
          total: { $sum: '$usage.totalTokens' },
          cost: { $sum: '$costMicros' },
          withAttachments: { $sum: { $cond: [{ $isArray: '$attachments' }, 1, 0] } },
          attachments: { $sum: { $size: { $ifNull: ['$attachments', []] } } },
          firstAt: { $min: '$createdAt' },
          lastAt: { $max: '$createdAt' },
        },
      },
    ])
    .toArray()
}
