import { once } from 'node:events'
import { readdir, readFile, readlink } from 'node:fs/promises'
import type { Stack } from '@parley/devstack'
import WebSocket from 'ws'
import { until } from './until.ts'

/** Resident memory of a process in MiB (Linux; elsewhere 0, so that only bounds are left unchecked). */
export async function residentMiB(pid: number | undefined): Promise<number> {
  if (pid === undefined || process.platform !== 'linux') return 0
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1] ?? 0) / 1024
}

/** A counter of the service at this address, over all its labels or those with `label` (`reason="x"`). */
export async function counterAt(url: string, name: string, label = ''): Promise<number> {
  const text = await (await fetch(`${url}/metrics`, { signal: AbortSignal.timeout(5_000) })).text()
  const labels = label === '' ? '(?:\\{[^}]*\\})?' : `\\{[^}]*${label}[^}]*\\}`
  const counts = text.matchAll(new RegExp(`^${name}${labels} (\\d+)`, 'gm'))
  return [...counts].reduce((sum, [, count]) => sum + Number(count), 0)
}

/**
 * What a service holds on to: its resident memory (MiB) right after it was made to collect all garbage. Without that
 * the figure tells more about the collector than about the service: V8 lets garbage pile up to several times the
 * live heap where memory is plentiful, and gives it back to the system only some time after the work has ended. The
 * stack needs `nodeFlags` with {@link INSPECTABLE}.
 */
export async function keptMiB(stack: Stack, name: string): Promise<number> {
  await withoutGarbage(stack, name)
  return residentMiB(stack.pids[name])
}

/**
 * The same of its heap and buffers alone (MiB): exact, where resident memory is also what the allocator has not given
 * back.
 */
export async function heldMiB(stack: Stack, name: string): Promise<number> {
  const { heapUsed, external } = await withoutGarbage(stack, name)
  return (heapUsed + external) / 1024 / 1024
}

interface Evaluated {
  result: { result: { value: NodeJS.MemoryUsage } }
}

/** Makes a service collect all garbage; what it says of its memory then. */
async function withoutGarbage(stack: Stack, name: string): Promise<NodeJS.MemoryUsage> {
  const inspector = await openInspector(stack, name)
  async function call(id: number, method: string, params: object = {}): Promise<unknown> {
    inspector.send(JSON.stringify({ id, method, params }))
    const [data] = await once(inspector, 'message')
    return JSON.parse(String(data))
  }
  try {
    // The second round takes what finalizers of the first let go.
    for (const id of [1, 2]) await call(id, 'HeapProfiler.collectGarbage')
    const usage = await call(3, 'Runtime.evaluate', {
      expression: 'process.memoryUsage()',
      returnByValue: true,
    })
    return (usage as Evaluated).result.result.value
  } finally {
    inspector.terminate()
  }
}

/** A port of its own for each process's inspector, which listens only once it is asked to. */
export const INSPECTABLE = '--inspect-port=127.0.0.1:0'

async function openInspector(stack: Stack, name: string): Promise<WebSocket> {
  const pid = stack.pids[name]
  if (pid === undefined) throw new Error(`${name} does not run`)
  return until(
    async () => {
      // As often as it takes: a process that listens already stays as it is.
      process.kill(pid, 'SIGUSR1')
      const url = await inspectorOf(pid)
      if (url === null) return null
      const socket = new WebSocket(url)
      await once(socket, 'open')
      return socket
    },
    { what: `the inspector of ${name}` },
  )
}

/**
 * Asks all ports that a process listens on which one is its inspector's. What it prints of that gets lost now and then
 * (seen with Node 24.21: a thread that listens, and not a word of it on the standard error).
 */
async function inspectorOf(pid: number): Promise<string | null> {
  for (const port of await portsOf(pid)) {
    const [target] = await fetch(`http://127.0.0.1:${port}/json/list`, { signal: AbortSignal.timeout(1_000) })
      .then((answer) => answer.json() as Promise<{ webSocketDebuggerUrl?: string }[]>)
      .then((list) => (Array.isArray(list) ? list : []))
      .catch(() => [])
    if (target?.webSocketDebuggerUrl !== undefined) return target.webSocketDebuggerUrl
  }
  return null
}

/** Ports on which a process listens (Linux). */
async function portsOf(pid: number): Promise<number[]> {
  const descriptors = await readdir(`/proc/${pid}/fd`)
  const links = await Promise.all(descriptors.map((fd) => readlink(`/proc/${pid}/fd/${fd}`).catch(() => '')))
  const own = new Set(links.flatMap((link) => /^socket:\[(\d+)\]$/.exec(link)?.[1] ?? []))
  const LISTENING = '0A'
  return (await readFile(`/proc/${pid}/net/tcp`, 'utf8')).split('\n').flatMap((line) => {
    const [, local = '', , state, , , , , , inode = ''] = line.trim().split(/\s+/)
    return state === LISTENING && own.has(inode) ? [Number.parseInt(local.split(':')[1] ?? '', 16)] : []
  })
}
