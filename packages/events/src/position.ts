import { randomUUID } from 'node:crypto'
import type { Redis } from 'ioredis'
import { compareIds, type Partition, streamEpochKey, streamKey } from './entries.ts'

/** Why entries may have passed unseen. */
export type LossReason =
  /** The first look at this stream: whatever was before it has not been seen. */
  | 'started'
  /** Another Redis process answers, after a restart or a failover; what it holds may end earlier than what was read. */
  | 'restarted'
  /** The keys were emptied. */
  | 'wiped'
  /** The stream ends before the cursor: entries written now can have ids that a reader never asks for. */
  | 'rewound'
  /** The entry last read is gone, and maybe others behind it. */
  | 'trimmed'

/** Where a reader stands in one stream. */
export interface Position {
  runId: string
  epoch: string
  /** Id of the last entry read; `0-0` where the stream was empty. */
  cursor: string
}

export const BEGINNING = '0-0'

/**
 * Compares a position with what Redis says now. Gives the position to go on from and, if entries may have passed
 * unseen between the two, why.
 *
 * A cursor that still names an entry proves that nothing behind it was trimmed, since trimming takes the oldest first.
 */
export async function checkPosition(
  redis: Redis,
  partition: Partition,
  from: Position | null,
): Promise<{ position: Position; loss: LossReason | null }> {
  const key = streamKey(partition)
  const cursor = from?.cursor ?? BEGINNING
  const replies = await redis
    .pipeline()
    .info('server')
    .set(streamEpochKey(partition), randomUUID(), 'NX')
    .get(streamEpochKey(partition))
    .xrange(key, cursor, cursor, 'COUNT', 1)
    .call('XINFO', 'STREAM', key)
    .exec()
  const [info, , epochReply, found, stream] = replies ?? []
  for (const reply of [info, epochReply, found]) {
    if (!reply || reply[0]) throw reply?.[0] ?? new Error('Redis gave no reply')
  }
  const runId = /run_id:(\w+)/.exec(String(info?.[1]))?.[1] ?? ''
  const epoch = String(epochReply?.[1])
  const state = streamState(stream)
  const position = { runId, epoch, cursor: state.last }
  if (!from) return { position, loss: 'started' }
  if (from.runId !== runId) return { position, loss: 'restarted' }
  if (from.epoch !== epoch) return { position, loss: 'wiped' }
  if (compareIds(state.last, cursor) < 0) return { position, loss: 'rewound' }
  const intact = cursor === BEGINNING ? !state.trimmed : isFound(found?.[1])
  return intact ? { position: from, loss: null } : { position, loss: 'trimmed' }
}

function isFound(reply: unknown): boolean {
  return Array.isArray(reply) && reply.length > 0
}

/** The last id a stream gave, and whether entries have left it since its beginning (unknown before Redis 7: no). */
function streamState(reply: [error: Error | null, result: unknown] | undefined): {
  last: string
  trimmed: boolean
} {
  const [error, fields] = reply ?? []
  if (error) {
    if (/no such key/i.test(error.message)) return { last: BEGINNING, trimmed: false }
    throw error
  }
  if (!Array.isArray(fields)) throw new Error('Redis gave no reply to XINFO STREAM')
  const field = (name: string): unknown => fields[fields.indexOf(name) + 1]
  const length = field('length')
  const added = fields.includes('entries-added') ? field('entries-added') : length
  return { last: String(field('last-generated-id')), trimmed: added !== length }
}
