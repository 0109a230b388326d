import { createRequire } from 'node:module'
import winkNLP, { type ItemSentence, type Model, type WinkMethods } from 'wink-nlp'

/** Characters of one message that are looked at: its beginning and its end, where the point tends to be. */
const HEAD = 6_000
const TAIL = 2_000
/**
 * Characters of an unbroken run that are looked at where words have spaces between them: none is longer. The time of
 * wink-nlp grows with more than the square of one (measured: 34 s for 8,000 characters of `http://`), and meanwhile a
 * worker does nothing else.
 */
const LONG_RUN = 200
const LONG_RUNS = new RegExp(`(\\S{${LONG_RUN}})\\S+`, 'gu')

/** A sentence, and what of interest is in it. */
export interface Sentence {
  text: string
  /** Dates, times, sums of money, addresses, percentages. */
  strong: number
  /** Other numbers. */
  numbers: number
  /** Names, as far as the language lets them be told. */
  names: number
  words: number
}

const STRONG = new Set(['DATE', 'TIME', 'DURATION', 'MONEY', 'PERCENT', 'EMAIL', 'URL'])
const MOSTLY_LATIN = 0.6

const require = createRequire(import.meta.url)
/**
 * Characters that one instance reads: it remembers every word it ever saw (120 bytes each, for good), and words come
 * from outside. A new one takes 100 ms.
 */
const MAX_CHARACTERS_READ = 4_000_000
let loaded: WinkMethods | undefined
let charactersLeft = 0

/** The language model takes 30 MB, so an idle worker does without. */
function english(text: string): WinkMethods {
  if (!loaded || charactersLeft < text.length) {
    loaded = winkNLP(require('wink-eng-lite-web-model') as Model)
    charactersLeft = MAX_CHARACTERS_READ
  }
  charactersLeft -= text.length
  return loaded
}

const segmenter = new Intl.Segmenter(undefined, { granularity: 'sentence' })
const words = new Intl.Segmenter(undefined, { granularity: 'word' })

/**
 * Cuts a text into sentences: English by wink-nlp, anything that isn't written in Latin letters by its Unicode rules.
 */
export function sentencesOf(text: string): Sentence[] {
  const looked =
    text.length > HEAD + TAIL ? `${text.slice(0, HEAD)}\n${text.slice(-TAIL)}`.toWellFormed() : text
  return looked
    .split(/\n+/u)
    .filter((line) => /[\p{L}\p{N}]/u.test(line))
    .flatMap((line) => (isLatin(line) ? latin(line) : other(line)))
}

function isLatin(line: string): boolean {
  const letters = line.match(/\p{L}/gu)?.length ?? 0
  return letters === 0 || (line.match(/\p{Script=Latin}/gu)?.length ?? 0) / letters >= MOSTLY_LATIN
}

function latin(text: string): Sentence[] {
  const line = text.replace(LONG_RUNS, '$1…')
  const nlp = english(line)
  const { its } = nlp
  const found: Sentence[] = []
  nlp
    .readDoc(line)
    .sentences()
    .each((sentence: ItemSentence) => {
      const entities = sentence.entities().out(its.detail) as unknown[]
      const types = entities.map((entity) =>
        typeof entity === 'object' && entity !== null && 'type' in entity ? String(entity.type) : '',
      )
      const tokens = sentence.tokens()
      const values = tokens.out(its.value) as string[]
      const speech = tokens.out(its.pos) as string[]
      const names = values.filter(
        (value, i) => i > 0 && speech[i] === 'PROPN' && /^\p{Lu}[\p{L}\d-]+$/u.test(value),
      )
      found.push({
        text: sentence.out().trim(),
        strong: types.filter((type) => STRONG.has(type)).length,
        numbers: types.filter((type) => !STRONG.has(type)).length,
        names: names.length,
        words: values.filter((value) => /[\p{L}\p{N}]/u.test(value)).length,
      })
    })
  return rejoined(line, found)
}

/** "am 3. März" and "v2.48.1" are one: a full stop after a number, with more on the line, ended nothing. */
function rejoined(line: string, sentences: Sentence[]): Sentence[] {
  const joined: Sentence[] = []
  for (const sentence of sentences) {
    const last = joined.at(-1)
    if (!last || !/(?<![\d,])\d{1,2}\.$/u.test(last.text)) {
      joined.push(sentence)
      continue
    }
    const adjacent = last.text + sentence.text
    last.text = line.includes(adjacent) ? adjacent : `${last.text} ${sentence.text}`
    last.strong += sentence.strong
    last.numbers += sentence.numbers
    last.names += sentence.names
    last.words += sentence.words
  }
  return joined
}

function other(line: string): Sentence[] {
  return [...segmenter.segment(line)].map(({ segment }) => {
    const text = segment.trim()
    return {
      text,
      strong: text.match(/[$€£¥₫₩]|元|円|₹|%|月\s*\d+|\d+\s*[年月日号點点时時]/gu)?.length ?? 0,
      numbers: text.match(/\p{N}+/gu)?.length ?? 0,
      names: text.match(/\p{Lu}[\p{L}\d]+/gu)?.length ?? 0,
      words: [...words.segment(text)].filter((word) => word.isWordLike).length,
    }
  })
}
