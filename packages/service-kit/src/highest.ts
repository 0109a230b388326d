import { LRUCache } from 'lru-cache'

/** Tells new numbers from repeated or overtaken ones. Remembers the `max` most recently used names. */
export function createHighest(max: number) {
  const highest = new LRUCache<string, number>({ max })
  return {
    /** Whether a number (above 0) exceeds all earlier ones of the same name. */
    isNews(name: string, number: number): boolean {
      if (number <= (highest.get(name) ?? 0)) return false
      highest.set(name, number)
      return true
    },
    /** The highest so far; 0 if none is remembered. */
    of: (name: string): number => highest.get(name) ?? 0,
    /** The name's next number is news. */
    forget(name: string): void {
      highest.delete(name)
    },
  }
}
