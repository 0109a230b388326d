import type { Message } from '@parley/contract'
import type { Connection } from './connection.ts'
import { ParleyError, toParleyError } from './errors.ts'
import { asSent } from './json.ts'
import type { Rest } from './rest.ts'
import { abortedBy, anySignal, backoff, raceSignal, sleep, timeLimit } from './timing.ts'
import { RENEWALS, type TokenSource } from './tokens.ts'
import type { OutgoingMessage, SendOptions } from './types.ts'

export type Sender = ReturnType<typeof createSender>

export interface SenderDependencies {
  connection: Connection
  rest: Rest
  tokens: TokenSource
  /** Shows another token on the open connection. */
  refresh(): Promise<unknown>
  closed: AbortSignal
}

/**
 * Sends until the answer is definite: over the socket, or by REST while there is none, with the same clientMessageId
 * each time, so that the message is stored once however often it took. Messages of one conversation go out one after
 * the other and are stored in that order.
 */
export function createSender({ connection, rest, tokens, refresh, closed }: SenderDependencies) {
  const tails = new Map<string, Promise<unknown>>()

  async function overSocket(message: OutgoingMessage, signal: AbortSignal | undefined): Promise<Message> {
    const { message: stored } = await connection.request('message:send', message, { signal })
    return stored
  }

  const byRest = (message: OutgoingMessage, signal: AbortSignal | undefined): Promise<Message> =>
    rest.messages.create(message, { attempts: 1, signal })

  async function untilDefinite(message: OutgoingMessage, signal: AbortSignal | undefined): Promise<Message> {
    let renewals = 0
    for (let failures = 0; ; ) {
      const isConnected = connection.state === 'connected'
      try {
        if (signal?.aborted) throw abortedBy(signal)
        return await (isConnected ? overSocket : byRest)(message, signal)
      } catch (thrown) {
        const error = toParleyError(thrown)
        // By REST others were shown already.
        if (isConnected && error.status === 401 && tokens.renewable && renewals < RENEWALS) {
          if (await renew()) renewals += 1
        } else if (!error.retryable) throw error
        failures += 1
        const atLeastMs = error.retryAfterMs ?? (error.code === 'rate_limited' ? 1_000 : 0)
        // The first repeat after a lost connection goes out at once: by REST, or on a connection that is new.
        if (failures > 1 || error.status > 0) await pause(backoff(failures - 1, atLeastMs), signal)
      }
    }
  }

  /**
   * Another token, which the open connection has to know of too; false where none can be had just now, or shown. What
   * else goes wrong with it shows in the next try.
   */
  async function renew(): Promise<boolean> {
    try {
      await (connection.state === 'connected' ? refresh() : tokens.renew())
      return true
    } catch (error) {
      if (!toParleyError(error).retryable) throw error
      return false
    }
  }

  async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
    await sleep(ms, signal).catch((error: unknown) => {
      // The loop's next round says whether it was the caller, the time limit, or the end of the client.
      if (!signal?.aborted) throw error
    })
  }

  return {
    async send(given: OutgoingMessage, options: SendOptions = {}): Promise<Message> {
      // As it is now: the caller may go on with it before its turn comes.
      const message = asSent(given)
      const key = message.conversationId
      const limit = options.timeoutMs === undefined ? undefined : timeLimit(options.timeoutMs)
      const signal = anySignal(options.signal, limit, closed)
      let begun = false
      const before = tails.get(key) ?? Promise.resolve()
      const sent = before.then(() => {
        begun = true
        return untilDefinite(message, signal)
      })
      const settled = sent.then(
        () => undefined,
        () => undefined,
      )
      tails.set(key, settled)
      settled.then(() => {
        if (tails.get(key) === settled) tails.delete(key)
      })
      return raceSignal(sent, signal).catch((error: unknown) => {
        if (!limit?.aborted) throw error
        const fate = begun ? 'may or may not have been stored' : 'was not stored'
        throw new ParleyError('timeout', `Gave up; the message ${fate}`, { cause: error })
      })
    },
  }
}
