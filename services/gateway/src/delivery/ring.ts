/**
 * The last things that went out to a room, for joins whose answer from the api is slightly older than the room. Bounded
 * in number and in characters.
 */
export interface Ring {
  push(number: number, text: string): void
  /** Everything from `after` + 1 on, or null if the ring begins later than that. */
  since(after: number): string[] | null
}

const MAX_ITEMS = 64
const MAX_CHARACTERS = 128 * 1024

/** `start`: the number before the first that will be pushed. */
export function createRing(start: number): Ring {
  const items: { number: number; text: string }[] = []
  let characters = 0
  let complete = start
  return {
    push(number, text) {
      items.push({ number, text })
      characters += text.length
      while (items.length > MAX_ITEMS || (characters > MAX_CHARACTERS && items.length > 0)) {
        const dropped = items.shift()
        if (!dropped) break
        characters -= dropped.text.length
        complete = dropped.number
      }
    },
    since(after) {
      if (after < complete) return null
      return items.filter(({ number }) => number > after).map(({ text }) => text)
    },
  }
}
