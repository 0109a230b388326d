import type { RevocationList } from '@parley/auth'
import {
  type Caller,
  type ParticipantRef,
  type PublishedData,
  type PublishedEvent,
  parseParticipantKey,
  participantKey,
  type Revocation,
} from '@parley/contract'
import type { Publisher } from '@parley/events'
import { createPeriodic, type Logger } from '@parley/service-kit'
import type { Collections, RevocationDocument } from '../database/collections.ts'

/** Milliseconds between checks for what other processes revoked, and for what gateways have to be told. */
const POLL_MS = 500
/** Milliseconds that each check reaches back before the newest one seen: writes become visible out of order. */
const OVERLAP_MS = 10_000
/** Milliseconds after which gateways have read a revocation from the whole list, if nobody announced it. */
const READ_MS = 120_000

export interface RevocationOptions {
  revocations: Collections['revocations']
  list: RevocationList
  publisher: Pick<Publisher, 'publish'>
  logger: Logger
}

export type Revocations = ReturnType<typeof createRevocations>

const toRevocation = ({ _id, before }: RevocationDocument): Revocation => ({
  orgId: _id.org,
  ...parseParticipantKey(_id.key),
  before,
})

function toEvent({ orgId, ...revoked }: Revocation): PublishedEvent {
  const data: PublishedData<'auth.revoked'> = revoked
  return { type: 'auth.revoked', org: orgId, cid: '', data: JSON.stringify(data) }
}

/**
 * Ended tokens: kept in MongoDB, held in memory by every process that verifies tokens. Every api process announces to
 * gateways what is new to it, until it gets through: the one that took the request may be cut off, or dead.
 */
export function createRevocations({ revocations, list, publisher, logger }: RevocationOptions) {
  const waiting = new Set<Revocation>()
  let newest = new Date(0)
  let announcing: Promise<void> | undefined
  let failing = false

  /** Those stored since then that are new to this process. */
  async function load(since: Date): Promise<RevocationDocument[]> {
    const rows = await revocations.find({ createdAt: { $gte: since } }).toArray()
    for (const row of rows) if (row.createdAt > newest) newest = row.createdAt
    return rows.filter((row) => list.add(toRevocation(row)))
  }

  async function tell(): Promise<void> {
    try {
      while (waiting.size > 0) {
        const batch = [...waiting]
        await publisher.publish(batch.map(toEvent))
        for (const revocation of batch) waiting.delete(revocation)
      }
      failing = false
    } catch (error) {
      if (!failing) logger.warn({ err: error }, 'revocations wait to be announced')
      failing = true
    }
  }

  function announce(): void {
    announcing ??= tell().finally(() => {
      announcing = undefined
    })
  }

  const looks = createPeriodic(async () => {
    try {
      const news = await load(new Date(newest.getTime() - OVERLAP_MS))
      for (const row of news) waiting.add(toRevocation(row))
    } catch (error) {
      logger.warn({ err: error }, 'revocations could not be read')
    }
    announce()
    return POLL_MS
  })

  return {
    /** Reads all revocations in force, then follows what other processes add. */
    async start(): Promise<void> {
      const readBefore = Date.now() - READ_MS
      for (const row of await load(new Date(0))) {
        if (row.createdAt.getTime() > readBefore) waiting.add(toRevocation(row))
      }
      announce()
      void looks.start()
    },
    /** The streams are back: announces at once whatever waited for them. */
    wake: announce,
    async close(): Promise<void> {
      await looks.close()
      await announcing
    },

    /** Ends all tokens issued so far to a member of the caller's org; gateways are told right after. */
    async revoke({ orgId }: Caller, { type, id }: ParticipantRef): Promise<void> {
      const revocation: Revocation = { orgId, type, id, before: Math.floor(Date.now() / 1_000) }
      await revocations.updateOne(
        { _id: { org: orgId, key: participantKey({ type, id }) } },
        { $max: { before: revocation.before }, $currentDate: { createdAt: true } },
        { upsert: true },
      )
      list.add(revocation)
      waiting.add(revocation)
      announce()
    },

    /** All that are in force. */
    async all(): Promise<Revocation[]> {
      return (await revocations.find().toArray()).map(toRevocation)
    },
  }
}
