import type { Collections } from '../database/collections.ts'
import type { Outbox } from './outbox.ts'

/** Milliseconds that a row is left to the process that wrote it. */
const GRACE_MS = 3_000
const INTERVAL_MS = 1_000
const BATCH_SIZE = 200

export interface RelayOptions {
  rows: Pick<Collections, 'outbox'>
  outbox: Pick<Outbox, 'send'>
  logger: { warn(details: object, message: string): void; info(details: object, message: string): void }
  /** For tests: milliseconds a row must be old, and between looks. */
  graceMs?: number
  intervalMs?: number
}

export type Relay = ReturnType<typeof createRelay>

/** Publishes the changes whose own process did not get them out: it died, or Redis was away. */
export function createRelay(options: RelayOptions) {
  const { rows, outbox, logger, graceMs = GRACE_MS, intervalMs = INTERVAL_MS } = options
  let timer: NodeJS.Timeout | undefined
  let sweeping: Promise<void> | undefined
  let again = false
  let failing = false
  let closed = false

  /** Publishes all that is old enough; resolves with how many. Rejects where that did not work. */
  async function sweep(): Promise<number> {
    let published = 0
    for (;;) {
      const late = await rows.outbox
        .find({ createdAt: { $lt: new Date(Date.now() - graceMs) } })
        .sort({ createdAt: 1, change: 1 })
        .limit(BATCH_SIZE)
        .toArray()
      if (late.length === 0) return published
      await outbox.send(late, [])
      published += late.length
      if (late.length < BATCH_SIZE) return published
    }
  }

  function run(): void {
    if (closed) return
    if (sweeping) {
      again = true
      return
    }
    clearTimeout(timer)
    sweeping = sweep()
      .then(
        (published) => {
          failing = false
          if (published > 0) logger.info({ published }, 'relayed changes that had not got out')
        },
        (error: unknown) => {
          if (!failing) logger.warn({ err: error }, 'changes can not be published for now')
          failing = true
        },
      )
      .finally(() => {
        sweeping = undefined
        if (closed) return
        // Spread out, so that several processes rarely relay the same rows.
        timer = setTimeout(run, again ? 0 : intervalMs * (0.5 + Math.random()))
        again = false
      })
  }

  return {
    start: run,
    sweep,
    /** Looks at once: Redis is back. */
    wake: run,
    async close(): Promise<void> {
      closed = true
      clearTimeout(timer)
      await sweeping
    },
  }
}
