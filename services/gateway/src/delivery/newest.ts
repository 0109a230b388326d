/** Names whose highest number is remembered, at most. */
const CAPACITY = 10_000

/** Per name, whether a number is higher than all before it: false for what comes twice, or after a later one. */
export function createNewest() {
  const highest = new Map<string, number>()
  return (name: string, number: number): boolean => {
    if (number <= (highest.get(name) ?? 0)) return false
    highest.delete(name)
    highest.set(name, number)
    if (highest.size > CAPACITY) {
      const [oldest] = highest.keys()
      if (oldest !== undefined) highest.delete(oldest)
    }
    return true
  }
}
