import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import type { Stack } from '@parley/devstack'
import WebSocket from 'ws'
import { until } from './until.ts'

/** Resident memory of a process in MiB (Linux; elsewhere 0, so that only bounds are left unchecked). */
export async function residentMiB(pid: number | undefined): Promise<number> {
  if (pid === undefined || process.platform !== 'linux') return 0
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1] ?? 0) / 1024
}

/** A counter of the service at this address, over all its labels. */
export async function counterAt(url: string, name: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`, { signal: AbortSignal.timeout(5_000) })).text()
  const counts = text.matchAll(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\d+)`, 'gm'))
  return [...counts].reduce((sum, [, count]) => sum + Number(count), 0)
}

/**
 * What a service holds on to: its resident memory (MiB) right after it was made to collect all garbage. Without that
 * the figure tells more about the collector than about the service: V8 lets garbage pile up to several times the
 * live heap where memory is plentiful, and gives it back to the system only some time after the work has ended. The
 * stack needs `nodeFlags` with {@link INSPECTABLE}.
 */
export async function keptMiB(stack: Stack, name: string): Promise<number> {
  const inspector = await openInspector(stack, name)
  try {
    // The second round takes what finalizers of the first let go.
    for (const id of [1, 2]) {
      inspector.send(JSON.stringify({ id, method: 'HeapProfiler.collectGarbage' }))
      await once(inspector, 'message')
    }
  } finally {
    inspector.terminate()
  }
  return residentMiB(stack.pids[name])
}

/** A port of its own for each process's inspector, which listens only once it is asked to. */
export const INSPECTABLE = '--inspect-port=127.0.0.1:0'

/** Where processes said that their inspectors are; only the last lines of what one said are kept elsewhere. */
const inspectors = new Map<number, string>()

async function openInspector(stack: Stack, name: string): Promise<WebSocket> {
  const pid = stack.pids[name]
  if (pid === undefined) throw new Error(`${name} does not run`)
  return until(
    async () => {
      // As often as it takes: a process that listens already stays as it is.
      process.kill(pid, 'SIGUSR1')
      const url = /.*(ws:\/\/127\.0\.0\.1:\S+)/s.exec(stack.log(name).join('\n'))?.[1] ?? inspectors.get(pid)
      if (url === undefined) return null
      const socket = new WebSocket(url)
      return once(socket, 'open').then(
        () => {
          inspectors.set(pid, url)
          return socket
        },
        // An address of before a restart: the new one is about to be told.
        () => null,
      )
    },
    { what: `the inspector of ${name}` },
  ).catch((cause: unknown) => {
    throw new Error(`${name} opened no inspector; it said last:\n${stack.log(name).slice(-5).join('\n')}`, {
      cause,
    })
  })
}
