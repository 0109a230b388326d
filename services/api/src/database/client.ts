import { MongoClient, type MongoClientOptions, ObjectId } from 'mongodb'
import { failWritesToClosedSockets } from './closed-sockets.ts'
import { type Collections, collections } from './collections.ts'
import { ensureIndexes } from './indexes.ts'

/** Milliseconds that a command may take, and that it waits for a primary. */
const COMMAND_TIMEOUT_MS = 10_000
/** Milliseconds between checks of each server, and until one that does not answer counts as away. */
const HEARTBEAT_MS = 1_000
const HEARTBEAT_TIMEOUT_MS = 3_000
const BARRIER_PAUSE_MS = 200

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
  const stopWatching = failWritesToClosedSockets(client)
  let primary: string | undefined
  let barrier: Promise<void> | undefined
  let closed = false

  // A new primary serves majority reads from before its term until a write of its own term is committed.
  client.on('serverDescriptionChanged', ({ newDescription }) => {
    if (newDescription.type !== 'RSPrimary') return
    const elected = `${newDescription.address} ${newDescription.electionId?.toHexString()}`
    if (elected === primary) return
    const first = primary === undefined
    primary = elected
    if (!first) raiseBarrier()
  })

  const processId = new ObjectId()
  /** While it fails, so does every read: an answer from before the election may lack what was acknowledged. */
  function raiseBarrier(): void {
    const raised = client
      .db()
      .collection('barriers')
      .updateOne({ _id: processId }, { $currentDate: { at: true } }, { upsert: true })
      .then(() => undefined)
    barrier = raised
    raised.then(
      () => {
        if (barrier === raised) barrier = undefined
      },
      () => {
        if (barrier === raised && !closed) setTimeout(raiseBarrier, BARRIER_PAUSE_MS).unref()
      },
    )
  }

  await client.connect()
  const db = client.db()
  await ensureIndexes(db)
  const rows: Collections = collections(db)

  return {
    client,
    db,
    ...rows,
    /** After a change of primary, resolves once reads are known to be current; undefined: they are. */
    current: (): Promise<void> | undefined => barrier,
    /** Rejects if the primary does not answer. */
    ping: async (): Promise<void> => {
      await db.command({ ping: 1, maxTimeMS: 2_000 })
    },
    async close(): Promise<void> {
      closed = true
      await client.close()
      stopWatching()
    },
  }
}
