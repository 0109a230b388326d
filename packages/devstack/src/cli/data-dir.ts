import { randomBytes } from 'node:crypto'
import { mkdir, open, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { codeOf, StackError } from '../errors.ts'
import { freePort, isPortFree } from '../ports.ts'

/** What `npm start` remembers between runs: secrets, so that tokens stay good, and the ports of the stores. */
export type DevSettings = { jwtSecret: string; serviceSecret: string; mongodPort: number; redisPort: number }

/**
 * Takes a data folder for this process alone and reads its settings, made on the first run. A port that meanwhile
 * belongs to somebody else is exchanged for a free one.
 *
 * @throws StackError when another `npm start` works in it
 */
export async function openDataDir(
  folder: string,
): Promise<{ settings: DevSettings; release(): Promise<void> }> {
  await makeFolder(folder)
  const lock = join(folder, 'lock')
  await takeLock(lock, folder)
  const file = join(folder, 'dev.json')
  const known = await readSettings(file)
  const settings = {
    jwtSecret: known.jwtSecret ?? randomBytes(32).toString('hex'),
    serviceSecret: known.serviceSecret ?? randomBytes(32).toString('hex'),
    mongodPort: await stillFree(known.mongodPort),
    redisPort: await stillFree(known.redisPort),
  }
  await writeFile(file, `${JSON.stringify(settings, null, 2)}\n`, { mode: 0o600 })
  return { settings, release: () => rm(lock, { force: true }) }
}

async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true })
  } catch (error) {
    throw new StackError(
      `The folder ${folder} could not be made (${codeOf(error)}): choose another with --data-dir.`,
    )
  }
}

async function takeLock(lock: string, folder: string): Promise<void> {
  for (;;) {
    try {
      const handle = await open(lock, 'wx')
      await handle.writeFile(String(process.pid))
      await handle.close()
      return
    } catch (error) {
      if (codeOf(error) !== 'EEXIST') {
        throw new StackError(
          `The folder ${folder} cannot be written to (${codeOf(error)}): choose another with --data-dir.`,
        )
      }
    }
    const holder = Number(await readFile(lock, 'utf8').catch(whenMissing))
    if (holder > 0 && holder !== process.pid && isAlive(holder)) {
      throw new StackError(
        `Process ${holder} is already using ${folder}: stop it, or choose another folder with --data-dir ` +
          `(if that process is not Parley, remove ${lock}).`,
      )
    }
    // Left behind by one that was killed.
    await rm(lock, { force: true })
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return codeOf(error) === 'EPERM'
  }
}

async function readSettings(file: string): Promise<Partial<DevSettings>> {
  const text = await readFile(file, 'utf8').catch(whenMissing)
  if (text === '') return {}
  try {
    return JSON.parse(text)
  } catch {
    throw new StackError(`${file} is not JSON any more: remove it (tokens given out before stop working).`)
  }
}

async function stillFree(port: number | undefined): Promise<number> {
  return port !== undefined && (await isPortFree(port)) ? port : freePort()
}

function whenMissing(error: unknown): string {
  if (codeOf(error) === 'ENOENT') return ''
  throw error
}
