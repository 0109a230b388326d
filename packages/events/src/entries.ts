import { EVENTS_VERSION, LIMITS, type PublishedEvent } from '@parley/contract'

/** An event as read. `at` is its entry's id; `data` is still text, parsed only where needed. */
export interface TailEvent extends PublishedEvent {
  at: string
}

/** An event as the fields of an entry. Data over 8 KiB is left out: readers then ask the api. */
export function encodeEntry(event: PublishedEvent): (string | number)[] {
  const fields: (string | number)[] = ['v', EVENTS_VERSION, 'type', event.type, 'org', event.org]
  fields.push('cid', event.cid)
  if (event.seq !== undefined) fields.push('seq', event.seq)
  if (event.change !== undefined) fields.push('change', event.change)
  if (event.member !== undefined) fields.push('member', event.member)
  if (event.to !== undefined) fields.push('to', JSON.stringify(event.to))
  if (event.data !== undefined && fits(event.data)) fields.push('data', event.data)
  return fields
}

function fits(data: string): boolean {
  // A UTF-16 unit takes one to three bytes: most events are decided without counting.
  if (data.length * 3 <= LIMITS.eventBytes) return true
  return data.length <= LIMITS.eventBytes && Buffer.byteLength(data) <= LIMITS.eventBytes
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
