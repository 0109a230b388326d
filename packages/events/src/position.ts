import { randomUUID } from 'node:crypto'
import { eventsEpochKey, eventsKey, eventsPulseKey, type Partition } from '@parley/contract'
import { ConnectionError, type TailConnection } from './connection.ts'
import { compareIds } from './entries.ts'
import { type Batch, readEvents, type Wants } from './read-events.ts'
import { createReader, type Reply } from './resp.ts'

/**
 * Why entries may have been missed: by the state of the stream, or because nobody showed for a while that they can
 * write to it.
 */
export type LossReason = StreamLoss | 'unheard'

type StreamLoss =
  /** The first read of this stream: anything before it has not been seen. */
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
  /** Id of the last entry read; `0-0` if the stream was empty. */
  cursor: string
  /** Entries the stream had been given when the cursor was at its end: what was added since must all be read. */
  added: number
}

/** Result of a read: the position to continue from, and either the entries up to there or why some may be lost. */
export type Look = {
  position: Position
  /** Whether somebody has shown that they can write to it. */
  hasPulse: boolean
} & ({ loss: StreamLoss } | { loss: null; read: Batch })

/** Which Redis process answers on a connection; empty where it does not say. */
export async function runIdOf(connection: TailConnection): Promise<string> {
  const info = createReader(await connection.ask([['INFO', 'server']])).value()
  return /run_id:(\w+)/.exec(String(info))?.[1] ?? ''
}

/**
 * Reads up to `count` entries past a position, and atomically gets the count of all entries ever added: if the two
 * disagree, entries were missed. `runId`: what {@link runIdOf} says of the connection. Needs Redis 7, which counts.
 */
export async function look(
  connection: TailConnection,
  runId: string,
  partition: Partition,
  from: Position | null,
  count: number,
  wants: Wants,
): Promise<Look> {
  const key = eventsKey(partition)
  const newEpoch = randomUUID()
  const commands = [
    ['MULTI'],
    ['SET', eventsEpochKey(partition), newEpoch, 'NX', 'GET'],
    ['EXISTS', eventsPulseKey(partition)],
    ['XINFO', 'STREAM', key],
    ['XREAD', 'COUNT', count, 'STREAMS', key, from?.cursor ?? '$'],
    ['EXEC'],
  ]
  const reader = createReader(await connection.ask(commands))
  reader.enter()
  const [known, pulses, stream] = [reader.value(), reader.value(), reader.value()]
  const epoch = known ?? newEpoch
  if (typeof epoch !== 'string' || !stream || reader.isError()) {
    throw new ConnectionError('Redis did not say where the stream stands', { cause: [epoch, stream] })
  }
  const hasPulse = pulses === 1
  const { last, added } = streamState(stream)
  const lost = (loss: StreamLoss): Look => ({
    position: { runId, epoch, cursor: last, added },
    hasPulse,
    loss,
  })
  if (!from) return lost('started')
  if (from.runId !== runId) return lost('restarted')
  if (from.epoch !== epoch) return lost('wiped')
  const read = readEvents(reader, wants)
  const pending = added - from.added
  if (pending < read.count || compareIds(last, from.cursor) < 0) return lost('rewound')
  if (pending > read.count && read.count < count) return lost('trimmed')
  return { position: after(from, read), hasPulse, loss: null, read }
}

/** The position of a reader after reading these entries from there. */
export function after(position: Position, { count, last }: Batch): Position {
  return { ...position, cursor: last ?? position.cursor, added: position.added + count }
}

/** A stream's last id, and how many entries were ever added. */
function streamState(fields: Reply): { last: string; added: number } {
  if (fields instanceof Error && /no such key/i.test(fields.message)) return { last: '0-0', added: 0 }
  if (!Array.isArray(fields))
    throw new ConnectionError('Redis did not describe the stream', { cause: fields })
  const field = (name: string): unknown => fields[fields.indexOf(name) + 1]
  return { last: String(field('last-generated-id')), added: Number(field('entries-added')) }
}
