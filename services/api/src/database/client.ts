import { MongoClient, type MongoClientOptions } from 'mongodb'
import { failWritesToClosedSockets } from './closed-sockets.ts'
import { type Collections, collections } from './collections.ts'
import { keepReadsCurrent } from './current-reads.ts'
import { ensureIndexes } from './indexes.ts'

/** Milliseconds that a command may take, and that it waits for a primary. */
const COMMAND_TIMEOUT_MS = 10_000
/** Milliseconds between checks of each server, and until one that does not answer counts as away. */
const HEARTBEAT_MS = 1_000
const HEARTBEAT_TIMEOUT_MS = 3_000

export type Database = Awaited<ReturnType<typeof connectDatabase>>

/**
 * Opens MongoDB: all reads from the primary with read concern majority, all writes on a majority, journaled. Rejects if
 * no primary is found within 10 s.
 */
export async function connectDatabase(
  uri: string,
  options: Pick<MongoClientOptions, 'monitorCommands'> = {},
) {
  const client = new MongoClient(uri, {
    ...options,
    readConcern: { level: 'majority' },
    readPreference: 'primary',
    writeConcern: { w: 'majority', journal: true },
    socketTimeoutMS: COMMAND_TIMEOUT_MS,
    serverSelectionTimeoutMS: COMMAND_TIMEOUT_MS,
    waitQueueTimeoutMS: COMMAND_TIMEOUT_MS,
    heartbeatFrequencyMS: HEARTBEAT_MS,
    connectTimeoutMS: HEARTBEAT_TIMEOUT_MS,
    maxPoolSize: 64,
    ignoreUndefined: true,
  })
  // The driver takes these from the address, whatever is said here.
  if (client.readConcern?.level !== 'majority' || client.writeConcern?.journal !== true) {
    throw new Error('MONGODB_URI must not set readConcernLevel or journal')
  }
  const stopWatching = failWritesToClosedSockets(client)
  await client.connect()
  const stopHolding = keepReadsCurrent(client)
  const db = client.db()
  await ensureIndexes(db)
  const rows: Collections = collections(db)

  return {
    client,
    db,
    ...rows,
    /** Rejects if the primary does not answer. */
    ping: async (): Promise<void> => {
      await db.command({ ping: 1, maxTimeMS: 2_000 })
    },
    async close(): Promise<void> {
      stopHolding()
      await client.close()
      stopWatching()
    },
  }
}
