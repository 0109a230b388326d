import { createRequire } from 'node:module'

/** The encoding in which context is counted. */
type Encoding = typeof import('gpt-tokenizer/encoding/o200k_base')

/**
 * Unbroken runs of more letters, signs or blanks than this are counted in pieces. Drawn as the tokenizer draws them:
 * accents and variation selectors go with letters and with signs, slashes with signs and with the line breaks after.
 */
const LONG_RUN = 400
const RUNS = new RegExp(
  `[\\p{L}\\p{M}\\p{N}]{${LONG_RUN},}|[^\\s\\p{L}\\p{N}]{${LONG_RUN},}|[\\s/]{${LONG_RUN},}`,
  'gu',
)

/** No text is a control token, whatever it looks like. */
const PLAIN = { disallowedSpecial: new Set<string>() }

const require = createRequire(import.meta.url)
let encoding: Encoding | undefined

/** The tables take 75 MB, which a process that is never asked for a context does not need. */
function countTokens(text: string, most: number): number {
  encoding ??= require('gpt-tokenizer/encoding/o200k_base') as Encoding
  const tokens = encoding.isWithinTokenLimit(text, most, PLAIN)
  return tokens === false ? most + 1 : tokens
}

/**
 * Tokens of a text, never fewer than it has; of one that has more than `most`, some number above that. The time of byte
 * pair encoding grows with the square of an unbroken run (measured: 3 s for 64 KiB of one letter), so long ones are
 * cut, each piece counted, and one added per cut.
 */
export function tokensOf(text: string, most: number = Number.POSITIVE_INFINITY): number {
  if (text.length < LONG_RUN) return countTokens(text, most)
  let tokens = 0
  let counted = 0
  for (const { 0: run, index } of text.matchAll(RUNS)) {
    tokens += countTokens(text.slice(counted, index), most)
    for (let at = 0; at < run.length && tokens <= most; at += LONG_RUN) {
      tokens += countTokens(run.slice(at, at + LONG_RUN), most) + 1
    }
    if (tokens > most) return tokens
    counted = index + run.length
  }
  return tokens + countTokens(text.slice(counted), most)
}
