import type { SummaryMessage, SummaryNote } from '@parley/contract'
import { DECISION, INSTRUCTION } from './cues.ts'
import { standing } from './notes.ts'
import { shorten } from './shorten.ts'

const MAX_LATEST = 4
/** Only summaries that are put together from notes have this section. */
export const LATEST_HEADING = 'Latest'
/** Largest share of the length that goes to what came last. */
const MAX_LATEST_SHARE = 0.3

/**
 * A summary made of what was said, word by word: decisions, key facts, and what came last. At most `length` characters
 * (200 or more); empty if there is nothing to say.
 */
export function compose(
  notes: readonly SummaryNote[],
  recent: readonly SummaryMessage[],
  length: number,
): string {
  const latest = section(LATEST_HEADING, latestLines(recent, Math.floor(length * MAX_LATEST_SHARE)))
  const facts = factSections(notes, recent.at(-1)?.seq ?? 0, length - latest.length - 2)
  return [facts, latest].filter((part) => part !== '').join('\n\n')
}

function latestLines(recent: readonly SummaryMessage[], length: number): string[] {
  const share = Math.floor(length / MAX_LATEST) - 3
  return recent
    .slice(-MAX_LATEST)
    .filter((message) => !INSTRUCTION.test(message.content))
    .map((message) => line(message.author, saidIn(message), share))
}

/** A note as a summary shows it. */
export const told = (note: SummaryNote): string => line(note.author, note.text)

/** Content, or what stands in for it. */
function saidIn(message: SummaryMessage): string {
  if (message.content.trim() !== '') return message.content
  if (message.tools.length > 0) return `(uses ${message.tools.join(', ')})`
  return message.attachments > 0 ? '(attachment)' : '(empty)'
}

function factSections(notes: readonly SummaryNote[], last: number, length: number): string {
  const headings = section('Decisions', ['']).length + section('Key facts', ['']).length + 2
  const chosen: SummaryNote[] = []
  let left = length - headings
  for (const note of [...notes].sort((a, b) => standing(b, last) - standing(a, last))) {
    const size = told(note).length + 3
    if (size > left) continue
    left -= size
    chosen.push(note)
  }
  chosen.sort((a, b) => a.seq - b.seq)
  const lines = (decisions: boolean) =>
    chosen.filter((note) => DECISION.test(note.text) === decisions).map(told)
  return [section('Decisions', lines(true)), section('Key facts', lines(false))]
    .filter((part) => part !== '')
    .join('\n\n')
}

const section = (title: string, lines: string[]): string =>
  lines.length === 0 ? '' : `${title}:\n${lines.map((each) => `- ${each}`).join('\n')}`

const line = (author: string, text: string, length = Number.POSITIVE_INFINITY): string =>
  shorten(`${shorten(author, 40)}: ${text}`, length)
