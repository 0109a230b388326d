import type { SummaryMessage, SummaryNote } from '@parley/contract'
import { ADDRESS, CONSTRAINT, DECISION, IDENTIFIER, INSTRUCTION, SMALL_TALK } from './cues.ts'
import { type Sentence, sentencesOf } from './sentences.ts'
import { shorten } from './shorten.ts'

/** Notes kept with a conversation; what a summary shows is chosen from them. */
export const MAX_NOTES = 80
/** Notes taken from one message at most, so that a long one does not crowd out all others. */
const MAX_NOTES_PER_MESSAGE = 6
/** Characters of a note. */
const MAX_NOTE_LENGTH = 240
/** Weight from which a sentence is noted. */
const MIN_WEIGHT = 1.5
/** Messages after which a note has lost half of what it can lose by age, which is half of its weight. */
const HALF_LIFE = 400
/** Share of words in common from which two notes say the same. */
const MIN_SIMILARITY = 0.75

/** The sentences of these messages that say something: names, numbers, dates, decisions, constraints. */
export function takeNotes(messages: readonly SummaryMessage[]): SummaryNote[] {
  // Somebody who addresses the summariser in one sentence may go on in the next.
  const trusted = messages.filter((message) => !INSTRUCTION.test(message.content))
  return trusted.flatMap((message) =>
    sentencesOf(message.content)
      .map((sentence) => ({ ...sentence, text: shorten(sentence.text, MAX_NOTE_LENGTH) }))
      .map((sentence) => ({
        seq: message.seq,
        author: message.author,
        text: sentence.text,
        weight: weigh(sentence, message.role),
      }))
      .filter((note) => note.weight >= MIN_WEIGHT)
      .sort((a, b) => b.weight - a.weight)
      .slice(0, MAX_NOTES_PER_MESSAGE),
  )
}

function weigh(sentence: Sentence, role: SummaryMessage['role']): number {
  const { text, strong, numbers, names, words } = sentence
  let weight = 0
  weight += 2 * Math.min(strong, 2) + Math.min(numbers, 2) + Math.min(names, 3)
  if (IDENTIFIER.test(text)) weight += 1.5
  if (ADDRESS.test(text)) weight += 1.5
  if (DECISION.test(text)) weight += 2.5
  if (CONSTRAINT.test(text)) weight += 1.5
  if (/[?？]\s*$/u.test(text)) weight -= 2
  if (SMALL_TALK.test(text) && words < 6) weight -= 2
  if (words < 3) weight -= 1
  if (role === 'user' && weight > 0) weight += 0.5
  if (role === 'tool') weight -= 1
  return Math.max(0, Math.round(weight * 10) / 10)
}

/** How much a note counts when the conversation has come to `seq`. */
export const standing = (note: SummaryNote, seq: number): number =>
  note.weight * (0.5 + 0.5 * 2 ** (-(seq - note.seq) / HALF_LIFE))

/**
 * Old and new notes, the strongest {@link MAX_NOTES} of them; of two that say the same, the newer. Ascending by seq.
 */
export function mergeNotes(old: readonly SummaryNote[], taken: readonly SummaryNote[]): SummaryNote[] {
  const last = taken.reduce((seq, note) => Math.max(seq, note.seq), old.at(-1)?.seq ?? 0)
  const kept: { note: SummaryNote; words: Set<string> }[] = []
  for (const note of [...old, ...taken].sort((a, b) => b.seq - a.seq)) {
    const words = contentWords(note.text)
    const same = kept.find((other) => similarity(words, other.words) >= MIN_SIMILARITY)
    if (same) same.note = { ...same.note, weight: Math.max(same.note.weight, note.weight) }
    else kept.push({ note, words })
  }
  return kept
    .map(({ note }) => note)
    .sort((a, b) => standing(b, last) - standing(a, last))
    .slice(0, MAX_NOTES)
    .sort((a, b) => a.seq - b.seq)
}

function contentWords(text: string): Set<string> {
  return new Set(text.toLowerCase().match(/\p{N}+(?:[.,:-]\p{N}+)*|\p{Script=Han}|[\p{L}]{3,}/gu) ?? [text])
}

function similarity(a: Set<string>, b: Set<string>): number {
  let shared = 0
  for (const word of a) if (b.has(word)) shared++
  return shared / Math.max(1, a.size + b.size - shared)
}
