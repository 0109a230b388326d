import type { MongoClient } from 'mongodb'

const READS = new Set(['find', 'aggregate', 'getMore'])
/** Milliseconds between attempts to find out whether reads are current. */
const PAUSE_MS = 200

/**
 * Lets no read go to a new primary before that knows all that its predecessor acknowledged: a primary answers majority
 * reads from before its term until a write of its own term is on a majority. Such a write is made here, and reads wait
 * for it; they fail while it does.
 *
 * They are held where the driver (7.9.0) chooses their server, since nothing else sees them all: those that were
 * waiting for a primary when this one was found, and those that the driver repeats there.
 *
 * Call it once connected. Returns a function that ends it.
 */
export function keepReadsCurrent(client: MongoClient): () => void {
  const { topology } = client as unknown as {
    topology: { selectServer(selector: unknown, options: { operationName: string }): Promise<unknown> }
  }
  const settings = client.db().collection<{ _id: string; count: number }>('settings')
  let primary: string | undefined
  let barrier: Promise<unknown> | undefined
  let retry: NodeJS.Timeout | undefined

  function raise(): void {
    clearTimeout(retry)
    const raised = settings.updateOne({ _id: 'barrier' }, { $inc: { count: 1 } }, { upsert: true })
    barrier = raised
    raised.then(
      () => {
        if (barrier === raised) barrier = undefined
      },
      () => {
        if (barrier === raised) retry = setTimeout(raise, PAUSE_MS).unref()
      },
    )
  }

  const select = topology.selectServer.bind(topology)
  topology.selectServer = async (selector, options) => {
    for (;;) {
      const server = await select(selector, options)
      const raised = READS.has(options.operationName) ? barrier : undefined
      if (!raised) return server
      // Chosen anew afterwards: it may be another one by then.
      await raised
    }
  }
  client.on('serverDescriptionChanged', ({ newDescription: { type, address, electionId } }) => {
    const elected = `${address} ${electionId?.toHexString()}`
    if (type !== 'RSPrimary' || elected === primary) return
    primary = elected
    raise()
  })
  raise()

  return () => {
    barrier = undefined
    clearTimeout(retry)
  }
}
