/** What an event takes from the socket's allowance, where that is not 1. */
const COSTS = new Map([
  ['conversation:join', 2],
  ['auth:refresh', 5],
  ['message:typing', 0.5],
])
/** A letter of a streamed answer takes next to nothing. */
const DELTA_COST = 0.05
/** Bytes of memory that a value takes besides its text. */
const VALUE_BYTES = 64

/** Whether this is the payload of a letter of a streamed answer. */
export const isDelta = (payload: unknown): boolean =>
  typeof payload === 'object' && payload !== null && 'op' in payload && payload.op === 'delta'

/** What an event takes from the socket's allowance. */
export const costOf = (event: string, payload: unknown): number =>
  event === 'message:stream' && isDelta(payload) ? DELTA_COST : (COSTS.get(event) ?? 1)

/** Bytes, about, that a payload takes in memory, which may be twenty times those of its JSON; counted up to `most`. */
export function weightOf(payload: unknown, most: number): number {
  let bytes = 0
  const values = [payload]
  while (values.length > 0 && bytes <= most) {
    const value = values.pop()
    bytes += VALUE_BYTES
    if (typeof value === 'string') bytes += value.length
    else if (Array.isArray(value)) for (const item of value) values.push(item)
    else if (typeof value === 'object' && value !== null) {
      for (const [key, item] of Object.entries(value)) {
        bytes += key.length
        values.push(item)
      }
    }
  }
  return bytes
}
