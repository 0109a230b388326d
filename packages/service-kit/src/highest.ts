import { LRUCache } from 'lru-cache'

/** Tells what is new from what comes twice or was overtaken. It remembers `max` names, those asked for last. */
export function createHighest(max: number) {
  const highest = new LRUCache<string, number>({ max })
  return {
    /** Whether a number, above 0, is above all before it of the same name. */
    isNews(name: string, number: number): boolean {
      if (number <= (highest.get(name) ?? 0)) return false
      highest.set(name, number)
      return true
    },
    /** The name's next number is news. */
    forget(name: string): void {
      highest.delete(name)
    },
  }
}
