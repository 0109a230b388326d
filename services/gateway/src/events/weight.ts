/** Bytes of memory that a value takes besides its text. */
const VALUE_BYTES = 64

/** Approximate bytes that a payload takes in memory, which may be twenty times its JSON; counted up to `max`. */
export function weightOf(payload: unknown, max: number): number {
  let bytes = 0
  const values = [payload]
  while (values.length > 0 && bytes <= max) {
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
