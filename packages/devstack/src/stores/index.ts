import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { ensureMongod, ensureRedis } from '../binaries/find.ts'
import { createManagedProcess, type ManagedProcess } from '../managed-process.ts'
import { freePort } from '../ports.ts'
import { formReplicaSet, mongodbUri, mongodSpec, waitWritable } from './mongod.ts'
import { redisSpec, redisUrl } from './redis.ts'

type StoreOptions = {
  /** The folder for everything the stores keep. It must exist; it is not removed. */
  dataDir: string
  supervise?: boolean
  log?: (line: string) => void
}

/** A process with what it takes to be of use again after a restart. */
export type StoreProcess = Omit<ManagedProcess, 'start'> & { start(): Promise<void> }

const quiet = () => undefined

/**
 * Starts a replica set of `members` mongods (1 by default) named `mongod-0`, … and waits until it can be written to.
 * A member keeps its port and its data when it is started again.
 */
export async function startMongodb(
  options: StoreOptions & { members?: number; ports?: number[]; database?: string },
): Promise<{ uri: string; ports: number[]; processes: StoreProcess[] }> {
  const { dataDir, members = 1, supervise = false, log = quiet, database = 'parley' } = options
  const binary = await ensureMongod(log)
  const ports = options.ports ?? []
  while (ports.length < members) ports.push(await freePort())
  const processes = await Promise.all(
    ports.map(async (port, index) => {
      const name = `mongod-${index}`
      return createManagedProcess(
        await mongodSpec({ name, binary, port, dataDir: join(dataDir, name), members, supervise, log }),
      )
    }),
  )
  try {
    await Promise.all(processes.map((process) => process.start()))
    await formReplicaSet(ports)
  } catch (error) {
    await Promise.all(processes.map((process) => process.destroy()))
    throw error
  }
  return {
    uri: mongodbUri(ports, database),
    ports,
    processes: processes.map((process) => withStart(process, () => waitWritable(ports))),
  }
}

/** Starts a Redis server named `redis-0` (or `name`) and waits until it answers. */
export async function startRedis(
  options: StoreOptions & { name?: string; port?: number; persistent?: boolean },
): Promise<{ url: string; port: number; process: StoreProcess }> {
  const { dataDir, name = 'redis-0', persistent = false, supervise = false, log = quiet } = options
  const binary = await ensureRedis(log)
  const port = options.port ?? (await freePort())
  const folder = join(dataDir, name)
  await mkdir(folder, { recursive: true })
  const process = createManagedProcess(
    await redisSpec({ name, binary, port, dataDir: folder, persistent, supervise, log }),
  )
  try {
    await process.start()
  } catch (error) {
    await process.destroy()
    throw error
  }
  return { url: redisUrl(port), port, process }
}

function withStart(process: ManagedProcess, then: () => Promise<void>): StoreProcess {
  const { start } = process
  return Object.defineProperty(process, 'start', {
    value: async () => {
      await start()
      await then()
    },
  })
}
