import { type ChildProcess, spawn } from 'node:child_process'
import { throwAwayFolder } from '@parley/devstack'

/** Python with a package of PyPI, in a throw-away folder. */
export interface Python {
  /** Starts it with these arguments, in that folder. */
  start(args: readonly string[], env?: NodeJS.ProcessEnv): ChildProcess
  remove(): Promise<void>
}

/** @throws Error if the package can't be fetched */
export async function pythonWith(requirement: string): Promise<Python> {
  const folder = await throwAwayFolder()
  const start: Python['start'] = (args, env = {}) =>
    spawn('python3', args, {
      cwd: folder.path,
      env: { ...process.env, PYTHONPATH: folder.path, PYTHONUNBUFFERED: '1', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
  const { code, output } = await finished(
    start(['-m', 'pip', 'install', '--quiet', '--target', folder.path, requirement]),
  )
  if (code !== 0) {
    await folder.remove()
    throw new Error(`${requirement} could not be fetched: ${output.slice(-400)}`)
  }
  return { start, remove: folder.remove }
}

/** Its exit code, and all that it wrote. */
export function finished(child: ChildProcess): Promise<{ code: number; output: string }> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    child.stdout?.on('data', (chunk) => chunks.push(chunk))
    child.stderr?.on('data', (chunk) => chunks.push(chunk))
    child.once('error', reject)
    child.once('close', (code) => resolve({ code: code ?? 1, output: Buffer.concat(chunks).toString() }))
  })
}
