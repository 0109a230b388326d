import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'

export interface Rival {
  pid: number
  port: number
  close(): Promise<void>
}

/**
 * Starts a program of bench/rivals, with the flags of Node that what it is held against runs with; it prints its port
 * when it listens, and ends with its standard input.
 */
export async function startRival(
  name: string,
  env: Record<string, string>,
  nodeFlags: readonly string[] = [],
): Promise<Rival> {
  const path = new URL(`../rivals/${name}.ts`, import.meta.url).pathname
  const child: ChildProcess = spawn(process.execPath, [...nodeFlags, '--conditions=@parley/source', path], {
    env: { PATH: process.env.PATH, ...env },
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const { stdout, pid } = child
  if (!stdout || pid === undefined) throw new Error(`${name} did not start`)
  const line = await Promise.race([
    once(createInterface({ input: stdout }), 'line').then(([first]: string[]) => first),
    once(child, 'exit').then(() => undefined),
  ])
  if (line === undefined) throw new Error(`${name} ended before it listened`)
  return {
    pid,
    port: Number(line),
    async close() {
      if (child.exitCode !== null) return
      const gone = once(child, 'exit')
      child.stdin?.end()
      child.kill('SIGTERM')
      await gone
    },
  }
}
