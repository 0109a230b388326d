import { setImmediate as nextTurn } from 'node:timers/promises'

/** Characters of text that are gone through in one turn: some 20 ms. */
const MAX_CHARACTERS = 64 * 1024

/** Goes through texts that take long, and lets others have their turn in between. */
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
