import { readFile } from 'node:fs/promises'

/** Resident memory of a process in MiB (Linux; elsewhere 0, so that only bounds are left unchecked). */
export async function residentMiB(pid: number | undefined): Promise<number> {
  if (pid === undefined || process.platform !== 'linux') return 0
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1] ?? 0) / 1024
}

/** Heap in use (MiB), as a service tells at `/metrics`. */
export async function heapMiB(url: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`, { signal: AbortSignal.timeout(5_000) })).text()
  const bytes = /^nodejs_heap_size_used_bytes(?:\{[^}]*\})? ([\d.e+]+)/m.exec(text)?.[1]
  return Number(bytes) / 2 ** 20
}
