import type { StreamEvent, StreamEventType } from '@parley/contract'
import {
  CONTROL_STREAM,
  epochKey,
  eventStream,
  LIMITS,
  STREAM_EVENTS,
  STREAM_VERSION,
} from '@parley/contract'
import { createReader, type Reply, word } from './resp.ts'

/** A stream of events: one of the partitions that conversations are spread over, or what concerns everybody. */
export type Partition = number | 'control'

/** An event as read. `at` is its entry's id; `data` is still text, and parsed by who needs it. */
export interface TailEvent extends StreamEvent {
  at: string
}

/** An entry as Redis tells it: its id, and names and values by turns. */
export type RawEntry = [id: string, fields: string[]]

/** Whether anybody wants events of this org and conversation. */
export type Wants = (org: string, cid: string) => boolean

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

const ORG = word('org')
const CID = word('cid')

/**
 * Takes the answer to an XREAD of one stream apart: how many entries, the last one's id, and those that are wanted.
 * null: none came in time. The others cost no more than finding out whose they are.
 */
export function readEntries(
  reply: Buffer,
  wants: Wants,
): { count: number; last: string; entries: RawEntry[] } | null {
  const reader = createReader(reply)
  if (reader.enter() < 0) return null
  reader.enter()
  reader.skip()
  const count = reader.enter()
  const entries: RawEntry[] = []
  let last = 0
  for (let entry = 0; entry < count; entry++) {
    const begin = reader.at
    reader.enter()
    last = reader.at
    reader.skip()
    let org: string | undefined
    let cid: string | undefined
    for (let fields = reader.enter(); fields > 1; fields -= 2) {
      const name = reader.word()
      if (name === ORG) org = reader.text()
      else if (name === CID) cid = reader.text()
      else reader.skip()
    }
    if (org !== undefined && cid !== undefined && !wants(org, cid)) continue
    reader.back(begin)
    entries.push(...rawEntries([reader.value()]))
  }
  reader.back(last)
  return { count, last: reader.text(), entries }
}

/** Entries among the values of an answer. */
export function rawEntries(values: readonly Reply[]): RawEntry[] {
  return values.map((value) => {
    const [id, fields] = Array.isArray(value) ? value : []
    return [String(id), Array.isArray(fields) ? fields.map(String) : []]
  })
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
