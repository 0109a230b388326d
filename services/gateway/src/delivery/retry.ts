import { setTimeout as delay } from 'node:timers/promises'
import { ProblemError } from '@parley/contract'
import type { Core } from '../services.ts'

const RETRY_MS = 1_000

export type Retry = (work: () => Promise<void>) => Promise<void>

/** Runs what needs the api, and repeats it once a second while that is away, until `close`. */
export function createRetry({ logger }: Pick<Core, 'logger'>) {
  let closed = false
  return {
    async retry(work: () => Promise<void>): Promise<void> {
      while (!closed) {
        try {
          await work()
          return
        } catch (error) {
          if (!(error instanceof ProblemError)) throw error
          logger.debug({ err: error }, 'the api did not answer: trying again in a second')
          await delay(RETRY_MS, undefined, { ref: false })
        }
      }
    },
    close(): void {
      closed = true
    },
  }
}
