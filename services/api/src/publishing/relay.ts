import { createPeriodic, type Logger } from '@parley/service-kit'
import type { Collections } from '../database/collections.ts'
import type { Outbox } from './outbox.ts'

/** Milliseconds that a row is left to the process that wrote it, unless that one has given it up. */
const GRACE_MS = 3_000
/** Short enough that a removal is published within a second of Redis being back. */
const INTERVAL_MS = 500
const BATCH_SIZE = 200

export interface RelayOptions {
  rows: Pick<Collections, 'outbox'>
  outbox: Pick<Outbox, 'send'>
  logger: Pick<Logger, 'info' | 'warn'>
  /** For tests: milliseconds a row must be old. */
  graceMs?: number
}

/** Publishes changes that their own process did not: it died, or Redis was away. */
export function createRelay({ rows, outbox, logger, graceMs = GRACE_MS }: RelayOptions) {
  let failing = false

  /** Publishes all that is old enough; resolves to how many. Rejects if that fails. */
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

  async function round(): Promise<number> {
    try {
      const published = await sweep()
      failing = false
      if (published > 0) logger.info({ published }, 'relayed changes that had not been published')
    } catch (error) {
      if (!failing) logger.warn({ err: error }, 'changes cannot be published at the moment')
      failing = true
    }
    // Spread out, so that several processes rarely relay the same rows.
    return INTERVAL_MS * (0.5 + Math.random())
  }

  return { ...createPeriodic(round), sweep }
}
