import { createPeriodic } from '@parley/service-kit'
import type { Database } from './client.ts'

/** Milliseconds between pings. */
const INTERVAL_MS = 2_000

/** Keeps track of whether the primary answered lately, so that asking never has to wait for it. */
export function watchDatabase(database: Pick<Database, 'ping'>) {
  let away = false

  const looks = createPeriodic(async () => {
    // A failed ping is a result here, not an error.
    away = await database.ping().then(
      () => false,
      () => true,
    )
    return INTERVAL_MS
  })
  void looks.start()

  return {
    isAway: (): boolean => away,
    close: looks.close,
  }
}
