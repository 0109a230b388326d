import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { guardFolder, releaseFolder } from './guard.ts'

/** A throw-away folder. Removed by `remove()`, or with this process however it ends. */
export async function throwAwayFolder(): Promise<{ path: string; remove(): Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), 'parley-'))
  guardFolder(path)
  return {
    path,
    async remove() {
      await rm(path, { recursive: true, force: true, maxRetries: 5 })
      releaseFolder(path)
    },
  }
}
