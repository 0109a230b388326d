import type { StreamEvent, StreamEventType } from '@parley/contract'
import {
  CONTROL_STREAM,
  epochKey,
  eventStream,
  LIMITS,
  STREAM_EVENTS,
  STREAM_VERSION,
} from '@parley/contract'

/** A stream of events: one of the partitions that conversations are spread over, or what concerns everybody. */
export type Partition = number | 'control'

/** An event as read. `at` is its entry's id; `data` is still text, and parsed by who needs it. */
export interface TailEvent extends StreamEvent {
  at: string
}

export const streamKey = (partition: Partition): string =>
  partition === 'control' ? CONTROL_STREAM : eventStream(partition)

/** In the same Redis Cluster slot as the stream. */
export const streamEpochKey = (partition: Partition): string =>
  partition === 'control' ? `{${CONTROL_STREAM}}:epoch` : epochKey(partition)

/** An event as the fields of an entry. Data over 8 KiB is left out: readers then ask the api. */
export function encodeEntry(event: StreamEvent): (string | number)[] {
  const fields: (string | number)[] = ['v', STREAM_VERSION, 'type', event.type, 'org', event.org]
  fields.push('cid', event.cid)
  if (event.seq !== undefined) fields.push('seq', event.seq)
  if (event.change !== undefined) fields.push('change', event.change)
  if (event.to !== undefined) fields.push('to', JSON.stringify(event.to))
  if (event.data !== undefined && fits(event.data)) fields.push('data', event.data)
  return fields
}

function fits(data: string): boolean {
  // A UTF-16 unit takes one to three bytes: most events are decided without counting.
  if (data.length * 3 <= LIMITS.eventBytes) return true
  return data.length <= LIMITS.eventBytes && Buffer.byteLength(data) <= LIMITS.eventBytes
}

/**
 * Reads an entry's flat fields. Of an entry in another version only the envelope is kept, so that its reader fetches
 * the state instead of guessing at it. null: not an event that this version knows.
 *
 * By hand and without a schema: every gateway reads every entry, and the writer is one of our own.
 */
export function decodeEntry(at: string, fields: readonly string[]): TailEvent | null {
  let version = ''
  let type = ''
  const event: TailEvent = { at, type: 'message.created', org: '', cid: '' }
  for (let i = 0; i + 1 < fields.length; i += 2) {
    const value = fields[i + 1] ?? ''
    switch (fields[i]) {
      case 'v':
        version = value
        break
      case 'type':
        type = value
        break
      case 'org':
        event.org = value
        break
      case 'cid':
        event.cid = value
        break
      case 'seq':
        event.seq = Number(value)
        break
      case 'change':
        event.change = Number(value)
        break
      case 'to':
        event.to = recipients(value)
        break
      case 'data':
        event.data = value
        break
    }
  }
  if (!isEventType(type)) return null
  event.type = type
  if (version !== STREAM_VERSION) delete event.data
  return Number.isSafeInteger(event.seq ?? 0) && Number.isSafeInteger(event.change ?? 0) ? event : null
}

const isEventType = (type: string): type is StreamEventType => Object.hasOwn(STREAM_EVENTS, type)

function recipients(text: string): string[] {
  try {
    const keys: unknown = JSON.parse(text)
    return Array.isArray(keys) ? keys.filter((key) => typeof key === 'string') : []
  } catch (error) {
    // Naming nobody costs an activity hint, never a message: the room's sockets are found by `cid`.
    if (error instanceof SyntaxError) return []
    throw error
  }
}

/** Orders entry ids (`<ms>-<n>`); negative: `a` came first. */
export function compareIds(a: string, b: string): number {
  const [aMs, aN] = idParts(a)
  const [bMs, bN] = idParts(b)
  return aMs - bMs || aN - bN
}

/** The milliseconds of an entry id: the time on Redis's clock when it was written. */
export const idMillis = (id: string): number => idParts(id)[0]

function idParts(id: string): [number, number] {
  const dash = id.indexOf('-')
  return dash < 0 ? [Number(id), 0] : [Number(id.slice(0, dash)), Number(id.slice(dash + 1))]
}
