import { mkdir } from 'node:fs/promises'
import { createConnection } from 'node:net'
import { childEnvironment } from '../environment.ts'
import type { ProcessSpec } from '../managed-process.ts'

/** A Redis server. With `persistent` it finds its data again after a restart, less at most the last second. */
export async function redisSpec(options: {
  name: string
  binary: string
  port: number
  dataDir: string
  persistent: boolean
  supervise: boolean
  log(line: string): void
}): Promise<ProcessSpec> {
  const { name, binary, port, dataDir, persistent, supervise, log } = options
  await mkdir(dataDir, { recursive: true })
  return {
    name,
    command: binary,
    args: [
      ...['--port', String(port), '--bind', '127.0.0.1', '--dir', dataDir],
      // Queues and streams must not be evicted: out of memory has to be an error.
      ...['--maxmemory-policy', 'noeviction'],
      ...['--save', '', '--appendonly', persistent ? 'yes' : 'no', '--appendfsync', 'everysec'],
    ],
    env: childEnvironment(),
    cwd: dataDir,
    readiness: async () => (await answersPing(port)) || 'no answer to PING',
    explain: (lines) =>
      lines.some((line) => line.includes('No space left on device'))
        ? `The disk that holds ${dataDir} is full: make room and start again.`
        : undefined,
    readyTimeoutMs: 20_000,
    supervise,
    log,
    forwardOutput: false,
  }
}

export function redisUrl(port: number): string {
  return `redis://127.0.0.1:${port}`
}

/** PONG within a second; `-LOADING` is not ready yet. */
function answersPing(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection({ port, host: '127.0.0.1', timeout: 1_000 })
    const finish = (answer: boolean) => {
      socket.destroy()
      resolve(answer)
    }
    socket.once('connect', () => socket.write('PING\r\n'))
    socket.once('data', (data) => finish(data.toString().startsWith('+PONG')))
    socket.once('timeout', () => finish(false))
    socket.once('error', () => finish(false))
    socket.once('close', () => finish(false))
  })
}
