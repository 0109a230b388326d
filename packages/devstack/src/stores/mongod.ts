import { mkdir } from 'node:fs/promises'
import { MongoClient, MongoServerError } from 'mongodb'
import { childEnvironment } from '../environment.ts'
import { messageOf, StackError } from '../errors.ts'
import type { ProcessSpec } from '../managed-process.ts'
import { until } from '../wait.ts'

const replicaSet = 'parley'
const alreadyInitialized = 23

/** A mongod as a member of the replica set, as small as it gets: its data takes 300 MB of disk when empty. */
export async function mongodSpec(options: {
  name: string
  binary: string
  port: number
  dataDir: string
  /** How many the set has. */
  members: number
  supervise: boolean
  log(line: string): void
}): Promise<ProcessSpec> {
  const { name, binary, port, dataDir, members, supervise, log } = options
  await mkdir(dataDir, { recursive: true })
  return {
    name,
    command: binary,
    args: [
      ...['--port', String(port), '--bind_ip', '127.0.0.1', '--nounixsocket'],
      ...['--dbpath', dataDir, '--replSet', replicaSet],
      ...['--oplogSize', '128', '--wiredTigerCacheSizeGB', '0.25'],
      // CVE-2025-14847: 6.0.5 answers a malformed compressed message with memory of its own.
      ...['--networkMessageCompressors', 'disabled'],
      ...['--setParameter', 'diagnosticDataCollectionEnabled=false'],
      // On SIGTERM there is nobody to hand over to that is worth the default wait of 15 s.
      ...['--setParameter', 'shutdownTimeoutMillisForSignaledShutdown=100'],
      // What a killed api had open holds up every change of its conversation until the server gives it up: by default
      // 60 to 90 s, so 5 to 7.5, which is less than the api tries for.
      ...['--setParameter', 'transactionLifetimeLimitSeconds=5'],
      // A member that has what no other has goes back to its last checkpoint when it returns, and does all since then
      // again: with one a minute, the default, that took over 75 s under load; with these at most 14 s.
      ...(members > 1 ? ['--syncdelay', '5'] : []),
      '--quiet',
    ],
    env: childEnvironment(),
    cwd: dataDir,
    readiness: async () => (await helloOf(port)) !== undefined || 'no answer to hello',
    explain: explainMongod(dataDir),
    readyTimeoutMs: 60_000,
    supervise,
    log,
    forwardOutput: false,
  }
}

/** Where clients find the set whose members listen on these ports. */
export function mongodbUri(ports: readonly number[], database: string): string {
  const hosts = ports.map((port) => `127.0.0.1:${port}`).join(',')
  return `mongodb://${hosts}/${database}?replicaSet=${replicaSet}`
}

/**
 * Makes the members on these ports one replica set, also where they were one on other ports before, and waits until
 * it can be written to.
 */
export async function formReplicaSet(ports: readonly number[], timeoutMs = 30_000): Promise<void> {
  const first = ports[0]
  if (first === undefined) throw new StackError('A replica set needs a member.')
  await withMember(first, async (client) => {
    const admin = client.db('admin')
    const members = ports.map((port, id) => ({
      _id: id,
      host: `127.0.0.1:${port}`,
      priority: id === 0 ? 2 : 1,
    }))
    try {
      await admin.command({
        replSetInitiate: { _id: replicaSet, members, settings: { electionTimeoutMillis: 2_000 } },
      })
    } catch (error) {
      if (!(error instanceof MongoServerError) || error.code !== alreadyInitialized) throw error
      const { config } = await admin.command({ replSetGetConfig: 1 })
      const moved = members.some((member, index) => config.members[index]?.host !== member.host)
      if (moved) {
        const next = { ...config, version: config.version + 1, members }
        await admin.command({ replSetReconfig: next, force: true })
      }
    }
  })
  await waitWritable(ports, timeoutMs)
}

/** Resolves when one of the members accepts writes and knows it. */
export async function waitWritable(ports: readonly number[], timeoutMs = 30_000): Promise<void> {
  await until(
    async () => {
      const answers = await Promise.all(ports.map((port) => helloOf(port)))
      return answers.some((hello) => hello?.isWritablePrimary === true) ? true : undefined
    },
    {
      timeoutMs,
      everyMs: 25,
      failure: () =>
        new StackError(`MongoDB on ${ports.join(', ')} was not writable after ${timeoutMs / 1000} s.`),
    },
  )
}

async function helloOf(port: number): Promise<{ isWritablePrimary?: boolean } | undefined> {
  try {
    return await withMember(port, (client) => client.db('admin').command({ hello: 1 }))
  } catch (error) {
    // Not there yet, or on its way out: the caller asks again until its own deadline.
    if (error instanceof Error) return undefined
    throw error
  }
}

async function withMember<T>(port: number, use: (client: MongoClient) => Promise<T>): Promise<T> {
  const client = new MongoClient(`mongodb://127.0.0.1:${port}/?directConnection=true`, {
    serverSelectionTimeoutMS: 1_000,
    connectTimeoutMS: 1_000,
    maxPoolSize: 1,
  })
  try {
    return await use(client)
  } finally {
    await client.close()
  }
}

function explainMongod(dataDir: string) {
  return (lines: readonly string[]): string | undefined => {
    const text = lines.join('\n')
    if (/DBPathInUse|Unable to lock the lock file/.test(text)) {
      return `Another mongod is using ${dataDir}: stop it, or choose another folder with --data-dir.`
    }
    if (/incompatible with|UPGRADE PROBLEM|Wrong mongod version/i.test(text)) {
      return `The data in ${dataDir} was written by another version of MongoDB: remove the folder or choose another with --data-dir.`
    }
    if (/No space left on device/.test(text))
      return `The disk that holds ${dataDir} is full: make room and start again.`
    return undefined
  }
}

/** A MongoDB that somebody else runs: reachable, and with transactions. */
export async function checkGivenMongodb(uri: string): Promise<void> {
  const client = new MongoClient(uri, { serverSelectionTimeoutMS: 5_000 })
  try {
    const hello = await client.db('admin').command({ hello: 1 })
    if (!hello.setName) {
      throw new StackError(
        'MONGODB_URI names a standalone server: it has to be a replica set (one member is enough).',
      )
    }
  } catch (error) {
    if (error instanceof StackError) throw error
    throw new StackError(
      `MongoDB at MONGODB_URI was not reached, start it or unset the variable: ${messageOf(error)}`,
    )
  } finally {
    await client.close()
  }
}
