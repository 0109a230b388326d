import { randomBytes } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import { StackError } from './errors.ts'
import { throwAwayFolder } from './folders.ts'
import { createManagedProcess, type Exit } from './managed-process.ts'
import { claimPort, freePort } from './ports.ts'
import { type ServiceKind, serviceSpec } from './service.ts'
import { type StoreProcess, startMongodb, startRedis } from './stores/index.ts'
import { checkGivenMongodb } from './stores/mongod.ts'
import { signToken, type TokenClaims } from './token.ts'

export type StackOptions = {
  /** Number of api processes (1), gateways (1) and workers (1). */
  apis?: number
  gateways?: number
  workers?: number
  /** Port of the first api or gateway; the next ones follow it. Random free ports when not given. */
  apiPort?: number
  gatewayPort?: number
  /** Ports of the stores, for whoever puts a proxy before them. Random free ports when not given. */
  mongodPort?: number
  redisPort?: number
  /** Where the stores keep their data. A throw-away folder when not given. */
  dataDir?: string
  /** Redis without persistence. Default: when there is no `dataDir`. */
  ephemeral?: boolean
  /** Environment for all services, and further for the services of one kind. Both win over what the stack sets. */
  env?: Record<string, string>
  serviceEnv?: Partial<Record<ServiceKind, Record<string, string>>>
  /** Flags of Node for the services. */
  nodeFlags?: string[]
  /** At least 32 bytes each; random when not given. */
  jwtSecret?: string
  serviceSecret?: string
  /** Start again what dies (false). */
  supervise?: boolean
  /** Run `dist/main.js` instead of the source. */
  built?: boolean
  /** Members of the replica set (1). */
  mongoMembers?: number
  /** Stores that run already. A MongoDB gets a database of the stack's own unless its URI names one. */
  mongodbUri?: string
  redisUrl?: string
  /** Start services at all (true). */
  services?: boolean
  /** Told about downloads, deaths and restarts; with `serviceOutput` also what services write. */
  log?: (line: string) => void
  serviceOutput?: boolean
}

export type Stack = {
  apiUrl: string
  apiUrls: string[]
  gatewayUrls: string[]
  workerUrls: string[]
  mongodbUri: string
  redisUrl: string
  jwtSecret: string
  serviceSecret: string
  /** Where `mongod-0`, `redis-0`, … have their folders. */
  dataDir: string
  /** What runs now, by name. */
  readonly pids: Record<string, number>
  /** Names of all that this stack started: `api-0`, `gateway-0`, `worker-0`, `mongod-0`, `redis-0`, … */
  processes(): string[]
  token(claims: TokenClaims): string
  /** Sends a signal (SIGKILL) and waits until the process is gone. Supervised, it comes back by itself. */
  kill(name: string, signal?: NodeJS.Signals): Promise<void>
  pause(name: string): void
  resume(name: string): void
  /** SIGTERM, then SIGKILL after `graceMs` (10,000); it stays away. Resolves to how it ended; null: it did not run. */
  stop(name: string, graceMs?: number): Promise<Exit | null>
  /** Starts what was stopped, on its port with its data; resolves when it is ready. */
  start(name: string): Promise<void>
  /** `stop` (gracefully) and `start`. Resolves to how it ended. */
  restart(name: string): Promise<Exit | null>
  /** Resolves when all that is meant to run, or the one named, is ready. */
  waitReady(name?: string): Promise<void>
  /** The last 200 lines that the process wrote. */
  log(name: string): readonly string[]
  /**
   * Stops all that this stack started and removes its throw-away folder. Services get `graceMs` (3,500, or 0 where
   * the data is thrown away) to end by themselves, stores 1,200 ms where their data is kept: 5 s at most.
   */
  close(graceMs?: number): Promise<void>
}

const storeGraceMs = 1_200
const quiet = () => undefined

/**
 * Starts stores and services on 127.0.0.1 and resolves when all are ready. What started is stopped again when
 * something does not.
 *
 * @throws StackError with a sentence for a person, or the last lines of the process that failed
 */
export async function startStack(options: StackOptions = {}): Promise<Stack> {
  const { supervise = false, log = quiet, jwtSecret = secret(), serviceSecret = secret() } = options
  const folder = options.dataDir === undefined ? await throwAwayFolder() : undefined
  const dataDir = options.dataDir ?? folder?.path ?? ''
  const persistent = !(options.ephemeral ?? options.dataDir === undefined)
  const running = new Map<string, StoreProcess>()
  let closing: Promise<void> | undefined

  const close = (graceMs = folder ? 0 : 3_500) => {
    closing ??= closeAll(graceMs)
    return closing
  }
  async function closeAll(graceMs: number): Promise<void> {
    const all = [...running.entries()]
    const stores = all.filter(([name]) => isStore(name)).map(([, process]) => process)
    const services = all.filter(([name]) => !isStore(name)).map(([, process]) => process)
    await Promise.all(services.map((service) => (graceMs > 0 ? service.stop(graceMs) : service.destroy())))
    await Promise.all(stores.map((store) => (folder ? store.destroy() : store.stop(storeGraceMs))))
    await folder?.remove()
  }

  try {
    await mkdir(dataDir, { recursive: true })
    const ports = await choosePorts(options)
    const stores = await startStores()
    const apiUrls = ports.api.map(urlOf)
    const common = {
      REDIS_URL: stores.redisUrl,
      SERVICE_SECRET: serviceSecret,
      JWT_SECRET: jwtSecret,
      AUTH_DEV_TOKENS: 'true',
      LOG_LEVEL: 'warn',
    }
    const own: Record<ServiceKind, Record<string, string>> = {
      api: { MONGODB_URI: stores.mongodbUri },
      gateway: { API_URL: apiUrls.join(',') },
      worker: { API_URL: apiUrls.join(',') },
    }
    if (options.services !== false) {
      for (const kind of ['api', 'gateway', 'worker'] as const) {
        ports[kind].forEach((port, index) => {
          const name = `${kind}-${index}`
          const env = { ...common, ...own[kind], ...options.env, ...options.serviceEnv?.[kind] }
          const { built = false, nodeFlags = [], serviceOutput: forwardOutput = false } = options
          const spec = serviceSpec({ kind, name, port, built, nodeFlags, env, supervise, forwardOutput, log })
          running.set(name, createManagedProcess(spec))
        })
      }
      await Promise.all([...running].filter(([name]) => !isStore(name)).map(([, process]) => process.start()))
    }
    return assemble(stores, ports, apiUrls)
  } catch (error) {
    await close()
    throw error
  }

  async function startStores() {
    const mongodb = async () => {
      if (options.mongodbUri !== undefined) {
        await checkGivenMongodb(options.mongodbUri)
        return withDatabase(options.mongodbUri)
      }
      const { mongodPort, mongoMembers: members = 1 } = options
      const given =
        mongodPort === undefined ? {} : { ports: [await claimPort(mongodPort, 'mongod', 'mongodPort')] }
      const started = await startMongodb({ dataDir, members, supervise, log, ...given })
      for (const process of started.processes) running.set(process.name, process)
      return started.uri
    }
    const redis = async () => {
      if (options.redisUrl !== undefined) return options.redisUrl
      const { redisPort } = options
      const given =
        redisPort === undefined ? {} : { port: await claimPort(redisPort, 'Redis server', 'redisPort') }
      const started = await startRedis({ dataDir, persistent, supervise, log, ...given })
      running.set(started.process.name, started.process)
      return started.url
    }
    // Both settle before anything is decided, so that neither is forgotten when the other fails.
    const [mongodbResult, redisResult] = await Promise.allSettled([mongodb(), redis()])
    if (mongodbResult.status === 'rejected') throw mongodbResult.reason
    if (redisResult.status === 'rejected') throw redisResult.reason
    return { mongodbUri: mongodbResult.value, redisUrl: redisResult.value }
  }

  function find(name: string): StoreProcess {
    const process = running.get(name)
    if (!process)
      throw new StackError(`There is no process ${name} here, only ${[...running.keys()].join(', ')}.`)
    return process
  }

  function assemble(
    stores: { mongodbUri: string; redisUrl: string },
    ports: Record<ServiceKind, number[]>,
    apiUrls: string[],
  ): Stack {
    return {
      apiUrl: apiUrls[0] ?? '',
      apiUrls,
      gatewayUrls: ports.gateway.map(urlOf),
      workerUrls: ports.worker.map(urlOf),
      ...stores,
      jwtSecret,
      serviceSecret,
      dataDir,
      get pids() {
        const pids: Record<string, number> = {}
        for (const [name, { pid }] of running) if (pid !== undefined) pids[name] = pid
        return pids
      },
      processes: () => [...running.keys()],
      token: (claims) => signToken(jwtSecret, claims),
      kill: async (name, signal) => find(name).kill(signal),
      pause: (name) => find(name).pause(),
      resume: (name) => find(name).resume(),
      stop: async (name, graceMs = 10_000) => find(name).stop(graceMs),
      start: async (name) => find(name).start(),
      async restart(name) {
        const exit = await find(name).stop(10_000)
        await find(name).start()
        return exit
      },
      async waitReady(name) {
        const chosen =
          name === undefined ? [...running.values()].filter((process) => process.wanted) : [find(name)]
        await Promise.all(chosen.map((process) => process.waitReady()))
      },
      log: (name) => find(name).lines,
      close,
    }
  }
}

function isStore(name: string): boolean {
  return name.startsWith('mongod-') || name.startsWith('redis-')
}

async function choosePorts(options: StackOptions): Promise<Record<ServiceKind, number[]>> {
  const { apis = 1, gateways = 1, workers = 1, apiPort, gatewayPort } = options
  return {
    api: await portsOf(apis, apiPort, 'api', '--api-port'),
    gateway: await portsOf(gateways, gatewayPort, 'gateway', '--gateway-port'),
    worker: await portsOf(workers, undefined, 'worker', ''),
  }
}

async function portsOf(
  count: number,
  first: number | undefined,
  what: string,
  option: string,
): Promise<number[]> {
  const ports: number[] = []
  for (let index = 0; index < count; index += 1) {
    ports.push(await (first === undefined ? freePort() : claimPort(first + index, what, option)))
  }
  return ports
}

function urlOf(port: number): string {
  return `http://127.0.0.1:${port}`
}

function secret(): string {
  return randomBytes(32).toString('hex')
}

/** The same URI with a database of this stack's own where it names none. (`URL` refuses several hosts.) */
function withDatabase(uri: string): string {
  const parts = /^(mongodb(?:\+srv)?:\/\/[^/?]+)\/?([^?]*)(\?.*)?$/.exec(uri)
  if (!parts)
    throw new StackError('MONGODB_URI is not a MongoDB connection string: it starts with mongodb://.')
  const [, hosts, database, query = ''] = parts
  return `${hosts}/${database || `parley-${randomBytes(6).toString('hex')}`}${query}`
}
