import type { Connection } from './connection.ts'
import { toParleyError } from './errors.ts'
import { backoff, ignoreAbort, sleep } from './timing.ts'
import type { TokenSource } from './tokens.ts'

/** With more than this left a token is refreshed soon after the warning. */
const REFRESH_EARLY_MS = 45_000

/** Shows another token on the open connection before the one there expires; what it returns does so at once. */
export function createTokenRefresh(
  connection: Connection,
  tokens: TokenSource,
  closed: AbortSignal,
): () => Promise<void> {
  let refreshing: Promise<void> | null = null

  function refresh(): Promise<void> {
    refreshing ??= (async () => {
      const token = await tokens.renew()
      await connection.request('auth:refresh', { token })
    })().finally(() => {
      refreshing = null
    })
    return refreshing
  }

  async function refreshBefore(until: number): Promise<void> {
    const left = until - Date.now()
    // A little later than told, so that many clients don't ask at once; of a short life half is used.
    await sleep(left > REFRESH_EARLY_MS ? Math.random() * 1_000 : Math.max(0, left / 2), closed)
    for (let failures = 1; connection.state === 'connected'; failures++) {
      try {
        return await refresh()
      } catch (error) {
        if (!toParleyError(error).retryable) return
        await sleep(backoff(failures), closed)
      }
    }
  }

  // A fixed token can't be replaced: the application hears of its end by the event itself.
  let watched = 0
  connection.events.on('auth:expiring', ({ expiresAt }) => {
    const until = Date.parse(expiresAt)
    if (!tokens.renewable || until <= watched) return
    watched = until
    refreshBefore(until).catch(ignoreAbort)
  })
  connection.events.on('disconnected', () => {
    watched = 0
  })
  return refresh
}
