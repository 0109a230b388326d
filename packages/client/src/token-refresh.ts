import type { ClientResult } from '@parley/contract'
import type { Connection } from './connection.ts'
import { toParleyError } from './errors.ts'
import { backoff, ignoreAbort, sleep } from './timing.ts'
import type { TokenSource } from './tokens.ts'

/** With more than this left a token is refreshed soon after the warning. */
const REFRESH_EARLY_MS = 45_000

type Refreshed = ClientResult<'auth:refresh'>

/** Shows another token on the open connection before the one there expires; what it returns does so at once. */
export function createTokenRefresh(
  connection: Connection,
  tokens: TokenSource,
  closed: AbortSignal,
): () => Promise<Refreshed> {
  let refreshing: Promise<Refreshed> | null = null

  function refresh(): Promise<Refreshed> {
    refreshing ??= (async () => {
      const token = await tokens.renew()
      return await connection.request('auth:refresh', { token })
    })().finally(() => {
      refreshing = null
    })
    return refreshing
  }

  async function refreshBefore(until: number): Promise<void> {
    const left = until - Date.now()
    // A little later than told, so that many clients don't ask at once; of a short life half is used.
    await sleep(left > REFRESH_EARLY_MS ? Math.random() * 1_000 : Math.max(0, left / 2), closed)
    for (let failures = 0; connection.state === 'connected'; ) {
      let pauseMs: number
      try {
        const { expiresAt } = await refresh()
        if (Date.parse(expiresAt) > until) return
        // Whoever gives tokens may have given the one that expires: a later call brings another.
        pauseMs = Math.max(1_000, (until - Date.now()) / 2)
      } catch (error) {
        if (!toParleyError(error).retryable) return
        failures += 1
        pauseMs = backoff(failures)
      }
      await sleep(pauseMs, closed)
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
