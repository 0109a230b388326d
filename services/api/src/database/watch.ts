import type { Database } from './client.ts'

/** Milliseconds between looks. */
const INTERVAL_MS = 2_000

/** Knows whether the primary answered lately, so that nobody who asks has to wait for it. */
export function watchDatabase(database: Pick<Database, 'ping'>) {
  let away = false
  let closed = false
  let timer: NodeJS.Timeout | undefined

  async function look(): Promise<void> {
    // A failed ping is what is being asked about, not an error.
    away = await database.ping().then(
      () => false,
      () => true,
    )
    if (!closed) timer = setTimeout(() => void look(), INTERVAL_MS)
  }
  void look()

  return {
    isAway: (): boolean => away,
    close(): void {
      closed = true
      clearTimeout(timer)
    },
  }
}
