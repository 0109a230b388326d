import { spawn } from 'node:child_process'

/** How a short command ended. `missing` when there is no such program. */
export type Outcome = { status: number | null; output: string; missing: boolean }

/** Runs a short command to its end and keeps what it said (both streams together). Never throws. */
export function run(command: string, args: string[], env?: NodeJS.ProcessEnv): Promise<Outcome> {
  return new Promise((resolve) => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], ...(env && { env }) })
    let output = ''
    const keep = (chunk: Buffer) => {
      output = (output + chunk.toString()).slice(-16_384)
    }
    child.stdout.on('data', keep)
    child.stderr.on('data', keep)
    child.once('error', (error) => resolve({ status: null, output: error.message, missing: true }))
    child.once('close', (status) => resolve({ status, output, missing: false }))
  })
}
