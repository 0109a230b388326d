/** Names whose highest number is remembered, at most. */
const CAPACITY = 10_000

/** Tells what is new from what comes twice or was overtaken: whether a number is above all before it of the same name. */
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
