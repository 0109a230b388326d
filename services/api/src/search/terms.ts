/** Most terms of a text that are read, and most different ones that are indexed; anything beyond is not found. */
const TERMS_OF_TEXT = 10_000
const TERMS_PER_MESSAGE = 2_000
/** Fewest characters for a word to match as the start of another: with fewer, nearly everything would be found. */
const PREFIX_LENGTH = 3
/** Characters of a term that count. */
const TERM_LENGTH = 40

export interface Term {
  text: string
  /** UTF-16 offsets in the text it came from. */
  start: number
  end: number
}

export interface QueryTerm {
  text: string
  /** The query ends in it: it may be the start of a longer word. */
  prefix: boolean
}

const WORD = /[\p{L}\p{N}\p{M}]+(?:['’][\p{L}\p{M}]+)*/gu
/** Chinese and Japanese are written without spaces: every character, and every two in a row, is a term. */
const IDEOGRAPHS = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}ー]+/gu
/** Written without spaces, but with words that a dictionary knows. */
const UNSPACED = /[\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}]/u
const segmenter = new Intl.Segmenter(undefined, { granularity: 'word' })

/** One spelling for what readers consider the same: no case, no accents, `ß` as `ss`, `đ` as `d`. */
const foldText = (text: string): string =>
  text
    .normalize('NFKD')
    .replace(/\p{M}/gu, '')
    .toLowerCase()
    .replaceAll('ß', 'ss')
    .replaceAll('đ', 'd')
    .replaceAll('ł', 'l')
    .replaceAll('ø', 'o')
    .replaceAll('’', "'")

/** The words of a text with their positions. Ideographs come as single characters and as pairs. */
function* termsOf(text: string): Generator<Term> {
  let left = TERMS_OF_TEXT
  for (const found of allTermsOf(text)) {
    yield found
    if (--left === 0) return
  }
}

function* allTermsOf(text: string): Generator<Term> {
  for (const { 0: run, index } of text.matchAll(WORD)) {
    let from = 0
    for (const { 0: ideographs, index: at } of run.matchAll(IDEOGRAPHS)) {
      yield* spaced(run.slice(from, at), index + from)
      yield* pairs(ideographs, index + at)
      from = at + ideographs.length
    }
    yield* spaced(run.slice(from), index + from)
  }
}

function* spaced(word: string, start: number): Generator<Term> {
  if (word === '') return
  if (!UNSPACED.test(word)) {
    yield term(word, start)
    return
  }
  for (const { segment, index, isWordLike } of segmenter.segment(word)) {
    if (isWordLike) yield term(segment, start + index)
  }
}

function* pairs(run: string, start: number): Generator<Term> {
  let before = ''
  let offset = 0
  for (const character of run) {
    yield term(character, start + offset)
    if (before !== '') yield term(before + character, start + offset - before.length)
    before = character
    offset += character.length
  }
}

const term = (text: string, start: number): Term => ({
  text: foldText(text).slice(0, TERM_LENGTH),
  start,
  end: start + text.length,
})

/** What a message is indexed under: each of its terms once. */
export function indexTerms(text: string): string[] {
  const terms = new Set<string>()
  for (const { text: found } of termsOf(text)) {
    if (found !== '') terms.add(found)
    if (terms.size === TERMS_PER_MESSAGE) break
  }
  return [...terms]
}

/**
 * The terms that a message must all contain to be found, longest first: a longer term is a rarer one. Ideographs count
 * as pairs, and singly only if they stand alone. The last word, if the query ends in it, may be the start of a longer
 * one.
 */
export function queryTerms(query: string): QueryTerm[] {
  const found = [...termsOf(query)].filter(({ text }) => text !== '')
  const inPair = (single: Term) =>
    found.some((other) => other !== single && other.start <= single.start && other.end >= single.end)
  const kept = found.filter((candidate) => !inPair(candidate))
  const unique = new Map<string, boolean>()
  for (const { text, end } of kept) {
    const open = end === query.length && text.length >= PREFIX_LENGTH && !/^\p{Script=Han}/u.test(text)
    unique.set(text, (unique.get(text) ?? true) && open)
  }
  return [...unique].map(([text, prefix]) => ({ text, prefix })).sort((a, b) => b.text.length - a.text.length)
}

/** How well a text matches the query, and where; 0 if a term is missing. */
export function rate(text: string, wanted: readonly QueryTerm[]) {
  const hits = new Map(wanted.map(({ text: term }) => [term, { exact: 0, begun: 0 }]))
  const highlights: { start: number; end: number }[] = []
  for (const { text: found, start, end } of termsOf(text)) {
    for (const { text: term, prefix } of wanted) {
      const hit = hits.get(term)
      if (!hit || !(found === term || (prefix && found.startsWith(term)))) continue
      if (found === term) hit.exact++
      else hit.begun++
      const last = highlights.at(-1)
      // Pairs of ideographs overlap; readers see one mark.
      if (last && start <= last.end) last.end = Math.max(last.end, end)
      else highlights.push({ start, end })
      break
    }
  }
  let score = 0
  for (const { exact, begun } of hits.values()) {
    if (exact + begun === 0) return { score: 0, highlights: [] }
    const weight = exact + begun / 2
    score += weight / (weight + 1)
  }
  // Of two messages that mention it equally often, the shorter is more relevant.
  return { score: score / hits.size + 0.2 / (1 + Math.log2(1 + text.length / 80)), highlights }
}
