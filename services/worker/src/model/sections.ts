import { LATEST_HEADING } from '../extractive/compose.ts'
import { shorten } from '../extractive/shorten.ts'
import { SECTIONS } from './prompt.ts'

const names = new Map(SECTIONS.map((name) => [name.toLowerCase(), name]))
/**
 * Words, perhaps a colon, and the rest of the line: "Goal", "**Goal:**", "Goal: book a table". Nothing in it can be
 * matched in two ways, or a line of a few hundred spaces would take minutes.
 */
const WORDS = /^[\s#*_>]*([A-Za-z]+(?: [A-Za-z]+)*)[\s*_]*(:?)[\s*_]*(.*)$/su
const MAX_LINE_LENGTH = 400

/**
 * A model's answer brought into the form of a summary: the known sections, in order, one fact a line, at most `length`
 * characters. Null if it has no such section: then the answer is not a summary.
 */
export function normaliseAnswer(answer: string, length: number): string | null {
  const found = new Map<string, string[]>()
  let current: string[] | undefined
  const open = (name: string) => {
    const lines = found.get(name) ?? []
    found.set(name, lines)
    return lines
  }
  for (const line of answer.toWellFormed().split('\n')) {
    const [, words = '', colon, rest = ''] = WORDS.exec(line) ?? []
    const named = colon || rest === '' ? names.get(words.toLowerCase()) : undefined
    if (named) current = open(named)
    const text = shorten((named ? rest : line).replace(/^[\s\-*•]+/u, ''), MAX_LINE_LENGTH)
    if (text !== '' && /[\p{L}\p{N}]/u.test(text)) current?.push(text)
  }
  return render(found, length)
}

/**
 * A model's summary with facts added that it does not know yet, for when the model is away: what it once found out must
 * not be lost to an outage. Null if there is no such summary.
 */
export function carryOn(previous: string, facts: readonly string[], length: number): string | null {
  if (previous === '' || previous.split('\n').includes(`${LATEST_HEADING}:`)) return null
  return normaliseAnswer(`Key facts:\n${facts.map((fact) => `- ${fact}`).join('\n')}\n${previous}`, length)
}

/** Takes lines from all sections in turn until the length is used up, so that no section is lost to a long one. */
function render(found: Map<string, string[]>, length: number): string | null {
  const sections = SECTIONS.map((name) => ({
    name,
    all: found.get(name) ?? [],
    kept: [] as string[],
  })).filter((section) => section.all.length > 0)
  let left = length
  for (let i = 0; sections.some((section) => i < section.all.length); i++) {
    for (const section of sections) {
      const line = section.all[i]
      const size =
        line === undefined ? 0 : line.length + 3 + (section.kept.length === 0 ? section.name.length + 3 : 0)
      if (line === undefined || size > left) continue
      left -= size
      section.kept.push(line)
    }
  }
  const text = sections
    .filter((section) => section.kept.length > 0)
    .map((section) => `${section.name}:\n${section.kept.map((line) => `- ${line}`).join('\n')}`)
    .join('\n\n')
  return text === '' ? null : text
}
