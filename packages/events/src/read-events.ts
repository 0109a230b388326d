import { EVENTS_VERSION, PUBLISHED_EVENTS, type PublishedEventType } from '@parley/contract'
import type { TailEvent } from './entries.ts'
import { type Reader, word } from './resp.ts'

/** Whether anybody wants events of this org and conversation. */
export type Wants = (org: string, cid: string) => boolean

/** What one read of a stream brought. */
export interface Batch {
  /** Entries that came, wanted or not. */
  count: number
  /** The last one's id; undefined if none came. */
  last: string | undefined
  /** The wanted ones, in order. */
  events: TailEvent[]
  /** Ids of wanted entries that this version does not know as events. */
  unknown: string[]
}

const V = word('v')
const TYPE = word('type')
const ORG = word('org')
const CID = word('cid')
const SEQ = word('seq')
const CHANGE = word('change')
const MEMBER = word('member')
const TO = word('to')
const DATA = word('data')

/**
 * Reads the answer to an XREAD of one stream, from the reader's position. An unwanted entry costs no more than finding
 * out whose it is, because every gateway reads every entry. For the same reason parsing is done by hand and without a
 * schema; the writer is one of our own.
 */
export function readEvents(reader: Reader, wants: Wants): Batch {
  const batch: Batch = { count: 0, last: undefined, events: [], unknown: [] }
  if (reader.enter() < 0) return batch
  reader.enter()
  reader.skip()
  batch.count = reader.enter()
  for (let entry = 1; entry <= batch.count; entry++) {
    reader.enter()
    const id = reader.place()
    reader.skip()
    const event = readEvent(reader, wants)
    if (event === undefined && entry < batch.count) continue
    const at = reader.textAt(id)
    if (entry === batch.count) batch.last = at
    if (event === null) batch.unknown.push(at)
    else if (event) batch.events.push({ at, ...event })
  }
  return batch
}

/**
 * The fields of one entry. Of an entry in another version only the envelope is kept, so that its reader fetches the
 * state instead of guessing at it. null: not an event that this version knows; undefined: nobody wants it. One that
 * does not say whose it is counts as wanted.
 */
function readEvent(reader: Reader, wants: Wants): Omit<TailEvent, 'at'> | null | undefined {
  const event: Omit<TailEvent, 'at'> = { type: 'message.created', org: '', cid: '' }
  let version = 0
  let type = 0
  let named = 0
  for (let fields = reader.enter(); fields > 1; fields -= 2) {
    const name = reader.word()
    if (name === V) version = reader.place()
    else if (name === TYPE) type = reader.place()
    else if (name === ORG || name === CID) {
      const text = reader.text()
      if (name === ORG) event.org = text
      else event.cid = text
      if (++named < 2 || wants(event.org, event.cid)) continue
      for (let rest = 2; rest < fields; rest++) reader.skip()
      return undefined
    } else if (name === SEQ || name === CHANGE || name === MEMBER || name === TO || name === DATA) {
      const text = reader.text()
      if (name === SEQ) event.seq = Number(text)
      else if (name === CHANGE) event.change = Number(text)
      else if (name === MEMBER) event.member = text
      else if (name === TO) event.to = recipients(text)
      else event.data = text
      continue
    }
    reader.skip()
  }
  const known = type === 0 ? '' : reader.textAt(type)
  if (!isEventType(known)) return null
  event.type = known
  if (version === 0 || reader.textAt(version) !== EVENTS_VERSION) delete event.data
  return Number.isSafeInteger(event.seq ?? 0) && Number.isSafeInteger(event.change ?? 0) ? event : null
}

const isEventType = (type: string): type is PublishedEventType => Object.hasOwn(PUBLISHED_EVENTS, type)

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
