/** Redis' protocol (RESP2), as far as a reader of streams needs it. */

/** What Redis answers: a text, a number, nothing, a list of these, or, within a list, an error. */
export type Reply = string | number | null | Error | Reply[]

const CR = 0x0d
const MINUS = 0x2d
const ZERO = 0x30
const [TEXT, NUMBER, ERROR, BULK, ARRAY] = [0x2b, 0x3a, 0x2d, 0x24, 0x2a]

/** A command as it goes out. */
export function encodeCommand(parts: readonly (string | number)[]): string {
  let text = `*${parts.length}\r\n`
  for (const part of parts) {
    const value = String(part)
    text += `$${Buffer.byteLength(value)}\r\n${value}\r\n`
  }
  return text
}

/** Cuts a stream of bytes into replies: gives each as its bytes. However they arrive, each byte is examined once. */
export function createSplitter(onReply: (reply: Buffer) => void): (chunk: Buffer) => void {
  /** From the beginning of the reply that is under way. */
  let bytes: Buffer = Buffer.alloc(0)
  let at = 0
  /** Values that are still to come before it is whole. */
  let missing = 1

  /** Skips one value, or only the head of a list. False: it is not complete yet. */
  function pass(): boolean {
    const end = bytes.indexOf(CR, at)
    if (end < 0 || end + 2 > bytes.length) return false
    const type = bytes[at]
    const counted = type === BULK || type === ARRAY
    const count = counted ? numberAt(bytes, at + 1, end) : 0
    const next = end + 2 + (type === BULK && count >= 0 ? count + 2 : 0)
    if (next > bytes.length) return false
    missing += (type === ARRAY ? Math.max(0, count) : 0) - 1
    at = next
    return true
  }

  return (chunk) => {
    bytes = bytes.length === 0 ? chunk : Buffer.concat([bytes, chunk])
    while (at < bytes.length && pass()) {
      if (missing > 0) continue
      const reply = bytes.subarray(0, at)
      bytes = bytes.subarray(at)
      at = 0
      missing = 1
      onReply(reply)
    }
  }
}

function numberAt(bytes: Buffer, from: number, to: number): number {
  const negative = bytes[from] === MINUS
  let value = 0
  for (let i = negative ? from + 1 : from; i < to; i++) value = value * 10 + (bytes[i] ?? ZERO) - ZERO
  return negative ? -value : value
}

export type Reader = ReturnType<typeof createReader>

/** Reads a whole reply from its beginning. */
export function createReader(bytes: Buffer) {
  let at = 0

  /** The number in a head: a count, a length, or the value itself. */
  function head(): number {
    const from = ++at
    while (at < bytes.length && bytes[at] !== CR) at++
    at += 2
    return numberAt(bytes, from, at - 2)
  }

  function line(): string {
    const from = at + 1
    at = bytes.indexOf(CR, at) + 2
    return bytes.toString('utf8', from, at - 2)
  }

  function value(): Reply {
    const type = bytes[at]
    if (type === TEXT) return line()
    if (type === ERROR) return new Error(line())
    const count = head()
    if (type === NUMBER) return count
    if (count < 0) return null
    if (type === ARRAY) return Array.from({ length: count }, value)
    if (type !== BULK) throw new Error('Redis answered in another protocol')
    at += count + 2
    return bytes.toString('utf8', at - count - 2, at - 2)
  }

  function text(): string {
    const from = skip()
    return bytes.toString('utf8', from, at - 2)
  }

  /** Skips a text; returns where it begins. */
  function skip(): number {
    const length = head()
    const from = at
    at += length + 2
    return from
  }

  return {
    value,
    skip,
    /** Enters a list; returns its length, or a negative number if there is none. */
    enter: head,
    text,
    /** The same, of at most six letters, as a number: see {@link word}. A longer one: 0. */
    word(): number {
      const from = skip()
      const to = at - 2
      let letters = 0
      if (to - from <= MAX_LETTERS) for (let i = from; i < to; i++) letters = letters * 256 + (bytes[i] ?? 0)
      return letters
    },
    /** The text that begins there. */
    textAt(place: number): string {
      const here = at
      at = place
      const found = text()
      at = here
      return found
    },
    /** Whether an error comes next. */
    isError: (): boolean => bytes[at] === ERROR,
    /** Where the next value begins, for {@link textAt}. */
    place: (): number => at,
  }
}

/** As many bytes as a number holds exactly. */
const MAX_LETTERS = 6

/** A name of up to six letters as a number, to compare without making a string. */
export const word = (letters: string): number =>
  [...letters].reduce((number, letter) => number * 256 + letter.charCodeAt(0), 0)
