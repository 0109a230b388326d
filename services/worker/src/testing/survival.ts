import type { SummaryMessage, SummaryNote } from '@parley/contract'
import { compose } from '../extractive/compose.ts'
import { mergeNotes, takeNotes } from '../extractive/notes.ts'
import { chatter, DIALOGUES, type Dialogue } from './dialogues.ts'

/** What follows the dialogue: talk that says little, or the other dialogues, each with facts of its own. */
export type Filler = 'chatter' | 'dialogues'

/** Summarised ten messages at a time: the dialogue, then `rounds` of something else. */
export function summariseRounds(dialogue: Dialogue, rounds: number, filler: Filler, length = 2_000): string {
  const authors = dialogue.lines.map(([author]) => author)
  const more =
    filler === 'chatter'
      ? chatter(rounds * 10, 1)
      : DIALOGUES.filter((other) => other !== dialogue)
          .flatMap((other) => other.lines.map(([, text]) => text))
          .slice(0, rounds * 10)
  const texts = [...dialogue.lines.map(([, text]) => text), ...more]
  const messages = texts.map((content, i): SummaryMessage => {
    const author = authors[i % authors.length] ?? ''
    return {
      seq: i + 1,
      role: author === 'agent' ? 'assistant' : 'user',
      author,
      content,
      tools: [],
      attachments: 0,
      createdAt: new Date(0).toISOString(),
    }
  })
  let notes: SummaryNote[] = []
  for (let start = 0; start < messages.length; start += 10) {
    notes = mergeNotes(notes, takeNotes(messages.slice(start, start + 10)))
  }
  return compose(notes, messages.slice(-4), length)
}

/** How many of the planted facts are still in the summaries after `rounds` rounds. */
export function survival(rounds: number, filler: Filler): { planted: number; kept: number; lost: string[] } {
  const lost = DIALOGUES.flatMap((dialogue) => {
    const summary = summariseRounds(dialogue, rounds, filler)
    return dialogue.facts.filter((fact) => !summary.includes(fact)).map((fact) => `${dialogue.name}: ${fact}`)
  })
  const planted = DIALOGUES.reduce((sum, dialogue) => sum + dialogue.facts.length, 0)
  return { planted, kept: planted - lost.length, lost }
}
