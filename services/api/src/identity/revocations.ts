import type { RevocationList } from '@parley/auth'
import {
  type Caller,
  type ParticipantRef,
  parseParticipantKey,
  participantKey,
  type Revocation,
  type StreamEvent,
} from '@parley/contract'
import type { Logger } from '@parley/service-kit'
import type { Collections, RevocationDocument } from '../database/collections.ts'

/** Milliseconds between looks for what other processes revoked. */
const POLL_MS = 500
/** Milliseconds that each look reaches back behind the newest one seen: writes become visible out of order. */
const OVERLAP_MS = 10_000

export interface RevocationOptions {
  revocations: Collections['revocations']
  list: RevocationList
  publisher: { publish(events: StreamEvent[]): Promise<void> }
  logger: Logger
}

export type Revocations = ReturnType<typeof createRevocations>

const toRevocation = ({ _id, before }: RevocationDocument): Revocation => ({
  orgId: _id.org,
  ...parseParticipantKey(_id.key),
  before,
})

/** Ended tokens: kept in MongoDB, held in memory by every process that verifies tokens. */
export function createRevocations({ revocations, list, publisher, logger }: RevocationOptions) {
  let newest = new Date(0)
  let timer: NodeJS.Timeout | undefined
  let closed = false

  async function load(since: Date): Promise<void> {
    const rows = await revocations.find({ createdAt: { $gte: since } }).toArray()
    for (const row of rows) {
      if (row.createdAt > newest) newest = row.createdAt
      list.add(toRevocation(row))
    }
  }

  function poll(): void {
    timer = setTimeout(() => {
      load(new Date(newest.getTime() - OVERLAP_MS))
        .catch((error: unknown) => logger.warn({ err: error }, 'revocations could not be read'))
        .finally(() => {
          if (!closed) poll()
        })
    }, POLL_MS)
  }

  return {
    /** Reads all that are in force, then follows what other processes add. */
    async start(): Promise<void> {
      await load(new Date(0))
      poll()
    },
    close(): void {
      closed = true
      clearTimeout(timer)
    },

    /** Ends the tokens that a member of the caller's org was given until now. */
    async revoke({ orgId }: Caller, { type, id }: ParticipantRef): Promise<void> {
      const before = Math.floor(Date.now() / 1_000)
      await revocations.updateOne(
        { _id: { org: orgId, key: participantKey({ type, id }) } },
        { $max: { before }, $currentDate: { createdAt: true } },
        { upsert: true },
      )
      list.add({ orgId, type, id, before })
      const event: StreamEvent = {
        type: 'auth.revoked',
        org: orgId,
        cid: '',
        data: JSON.stringify({ type, id, before }),
      }
      // Gateways that this does not reach ask for the list while Redis is away.
      await publisher.publish([event]).catch((error: unknown) => {
        logger.warn({ err: error }, 'a revocation was stored but not announced')
      })
    },

    /** All that are in force. */
    async all(): Promise<Revocation[]> {
      return (await revocations.find().toArray()).map(toRevocation)
    },
  }
}
