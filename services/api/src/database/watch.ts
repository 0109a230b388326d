import { createPeriodic } from '@parley/service-kit'
import type { Database } from './client.ts'

/** Milliseconds between looks. */
const INTERVAL_MS = 2_000

/** Knows whether the primary answered lately, so that nobody who asks has to wait for it. */
export function watchDatabase(database: Pick<Database, 'ping'>) {
  let away = false

  const looks = createPeriodic(async () => {
    // A failed ping is what is being asked about, not an error.
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
