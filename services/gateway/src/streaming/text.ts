import { isPlainText, LIMITS, problem, utf8Bytes } from '@parley/contract'

const endsInHalf = (text: string): boolean => {
  const last = text.charCodeAt(text.length - 1)
  return last >= 0xd800 && last <= 0xdbff
}

/**
 * The text of one streamed answer as its owner has it, and how much of it has been passed on. Offsets count UTF-16
 * units; what is passed on never ends within a surrogate pair.
 */
export function createStreamText(initial: string) {
  let text = initial
  let passed = initial.length
  /** A lone surrogate at the end waits for the other half. */
  let half = ''
  let bytes = utf8Bytes(initial)

  return {
    /** Where the next delta has to begin. */
    get length(): number {
      return text.length + half.length
    },
    /** All of it that is well-formed. */
    get whole(): string {
      return text
    },
    get hasMore(): boolean {
      return passed < text.length
    },

    /**
     * Takes what follows at `index`; what it already has counts as a repeat.
     * @throws ProblemError conflict (a gap, or different text), payload_too_large (64 KiB), validation_failed (NUL, or
     * half of a surrogate pair)
     */
    append(index: number, delta: string): void {
      const here = text.length + half.length
      if (index > here) {
        throw problem('conflict', { detail: `The stream continues at ${here}, not at ${index}` })
      }
      const known = here - index
      const repeated = known > 0 ? (text + half).slice(index, index + delta.length) : ''
      if (!delta.startsWith(repeated)) {
        throw problem('conflict', {
          detail: `The stream has different text at ${index}; it continues at ${here}`,
        })
      }
      let fresh = half + delta.slice(known)
      if (delta.length <= known) return
      let rest = ''
      if (endsInHalf(fresh)) {
        rest = fresh.slice(-1)
        fresh = fresh.slice(0, -1)
      }
      if (!isPlainText(fresh)) {
        throw problem('validation_failed', { detail: 'The text must be well-formed and without NUL' })
      }
      const size = bytes + utf8Bytes(fresh)
      if (size > LIMITS.contentBytes) {
        throw problem('payload_too_large', { detail: `A message has at most ${LIMITS.contentBytes} bytes` })
      }
      text += fresh
      half = rest
      bytes = size
    },

    /** What was not passed on yet; counts as passed on from now on. */
    take(): { index: number; text: string } | null {
      if (passed === text.length) return null
      const piece = { index: passed, text: text.slice(passed) }
      passed = text.length
      return piece
    },
  }
}
