import { setImmediate as nextTurn } from 'node:timers/promises'

/** Characters of text processed in one turn: some 20 ms to look words up, at most 40 to count tokens. */
const MAX_CHARACTERS = 64 * 1024

/** Processes long texts in pieces, yielding to other work in between. */
export async function* unhurried<T extends { content: string }>(texts: Iterable<T>): AsyncGenerator<T> {
  let characters = 0
  for (const text of texts) {
    characters += text.content.length
    if (characters > MAX_CHARACTERS) {
      await nextTurn()
      characters = text.content.length
    }
    yield text
  }
}
