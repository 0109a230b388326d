import { readFile } from 'node:fs/promises'

/** Resident memory of a process in MiB (Linux; elsewhere 0, so that only bounds are left unchecked). */
export async function residentMiB(pid: number | undefined): Promise<number> {
  if (pid === undefined || process.platform !== 'linux') return 0
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1] ?? 0) / 1024
}
