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
  /** More entries were added than were read and can still be read. */
  | 'trimmed'

/** Where a reader stands in one stream. */
export interface Position {
  runId: string
  epoch: string
  /** Id of the last entry read; `0-0` where the stream was empty. */
  cursor: string
  /** Entries the stream had been given when the cursor was at its end: what was added since must all be read. */
  added: number
}

/** An entry as Redis tells it: its id, and names and values by turns. */
export type RawEntry = [id: string, fields: string[]]

/** What a look at the stream gave: where to go on from, and either the entries up to there or why some may be lost. */
export type Look =
  | { position: Position; loss: LossReason; entries: [] }
  | { position: Position; loss: null; entries: RawEntry[] }

/**
 * Reads up to `count` entries past a position, and in the same moment counts what the stream was ever given: when
 * these two differ, entries passed unseen. Needs Redis 7, which counts.
 */
export async function look(
  redis: Redis,
  partition: Partition,
  from: Position | null,
  count: number,
): Promise<Look> {
  const key = streamKey(partition)
  const replies = await redis
    .multi()
    .info('server')
    .set(streamEpochKey(partition), randomUUID(), 'NX')
    .get(streamEpochKey(partition))
    .call('XINFO', 'STREAM', key)
    .xread('COUNT', count, 'STREAMS', key, from?.cursor ?? '$')
    .exec()
  const [info, , epochReply, stream, read] = replies ?? []
  for (const reply of [info, epochReply, read]) {
    if (!reply || reply[0]) throw reply?.[0] ?? new Error('Redis gave no reply')
  }
  const runId = /run_id:(\w+)/.exec(String(info?.[1]))?.[1] ?? ''
  const epoch = String(epochReply?.[1])
  const { last, added } = streamState(stream)
  const lost = (loss: LossReason): Look => ({
    position: { runId, epoch, cursor: last, added },
    loss,
    entries: [],
  })
  if (!from) return lost('started')
  if (from.runId !== runId) return lost('restarted')
  if (from.epoch !== epoch) return lost('wiped')
  const entries = entriesOf(read?.[1])
  const pending = added - from.added
  if (pending < entries.length || compareIds(last, from.cursor) < 0) return lost('rewound')
  if (pending > entries.length && entries.length < count) return lost('trimmed')
  return { position: after(from, entries), loss: null, entries }
}

/** The position of a reader that read these entries from there on. */
export function after(position: Position, entries: readonly RawEntry[]): Position {
  const cursor = entries.at(-1)?.[0] ?? position.cursor
  return { ...position, cursor, added: position.added + entries.length }
}

function entriesOf(reply: unknown): RawEntry[] {
  return (reply as [key: string, entries: RawEntry[]][] | null)?.[0]?.[1] ?? []
}

/** The last id that a stream gave, and how many entries it was ever given. */
function streamState(reply: [error: Error | null, result: unknown] | undefined): {
  last: string
  added: number
} {
  const [error, fields] = reply ?? []
  if (error) {
    if (/no such key/i.test(error.message)) return { last: '0-0', added: 0 }
    throw error
  }
  if (!Array.isArray(fields)) throw new Error('Redis gave no reply to XINFO STREAM')
  const field = (name: string): unknown => fields[fields.indexOf(name) + 1]
  return { last: String(field('last-generated-id')), added: Number(field('entries-added')) }
}
