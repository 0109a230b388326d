import { spawn } from 'node:child_process'
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const root = join(import.meta.dirname, '..', '..')
const SKIPPED = new Set(['node_modules', 'dist', '.git', '.parley'])

export interface Patch {
  /** From the root of the repository. */
  file: string
  /** Must occur exactly once: a mutant that no longer fits the code has to be noticed. */
  find: string
  replace: string
}

/** The source with the patch; throws where it does not fit. */
export function patched(source: string, { file, find, replace }: Patch): string {
  const parts = source.split(find)
  if (parts.length !== 2) throw new Error(`${file}: found ${parts.length - 1} times, not once: ${find}`)
  return parts.join(replace)
}

export interface Workspace {
  path: string
  patch(patches: readonly Patch[]): Promise<void>
  /** Takes all patches back. */
  restore(): Promise<void>
  /** Runs node in the copy; resolves with its exit code, or the signal that ended it, and the end of what it wrote. */
  node(args: readonly string[], timeoutMs: number): Promise<{ exit: number | NodeJS.Signals; output: string }>
  remove(): Promise<void>
}

/**
 * A copy of the source tree in a temporary folder, to be broken at will. Dependencies are linked; the workspace's own
 * packages are the copy's, since their links are relative.
 */
export async function createWorkspace(): Promise<Workspace> {
  const path = await mkdtemp(join(tmpdir(), 'parley-mutant-'))
  await symlink(join(root, 'node_modules'), join(path, 'node_modules'))
  await copyTree(root, path)
  const originals = new Map<string, string>()

  return {
    path,
    async patch(patches) {
      for (const patch of patches) {
        const target = join(path, patch.file)
        const source = await readFile(target, 'utf8')
        const broken = patched(source, patch)
        if (!originals.has(target)) originals.set(target, source)
        await writeFile(target, broken)
      }
    },
    async restore() {
      for (const [target, source] of originals) await writeFile(target, source)
      originals.clear()
    },
    node(args, timeoutMs) {
      return new Promise((resolve, reject) => {
        const child = spawn(process.execPath, args, {
          cwd: path,
          // A run of vitest inside another one must not take itself for a part of it.
          env: Object.fromEntries(
            Object.entries(process.env).filter(([name]) => !/^(VITE|NODE_ENV)/.test(name)),
          ),
          stdio: ['ignore', 'pipe', 'pipe'],
        })
        let output = ''
        const keep = (chunk: Buffer) => {
          output = (output + chunk.toString()).slice(-20_000)
        }
        child.stdout.on('data', keep)
        child.stderr.on('data', keep)
        const timer = setTimeout(() => child.kill('SIGTERM'), timeoutMs)
        child.once('error', reject)
        child.once('close', (code, signal) => {
          clearTimeout(timer)
          resolve({ exit: signal ?? code ?? 1, output })
        })
      })
    },
    remove: () => rm(path, { recursive: true, force: true }),
  }
}

async function copyTree(from: string, to: string): Promise<void> {
  for (const entry of await readdir(from, { withFileTypes: true })) {
    const [source, target] = [join(from, entry.name), join(to, entry.name)]
    if (entry.name === 'node_modules' && from !== root) {
      // Links only, and relative ones: copied as they are they lead to the copy's packages.
      await cp(source, target, { recursive: true, verbatimSymlinks: true, filter: isNoCache })
    } else if (SKIPPED.has(entry.name)) continue
    else if (entry.isDirectory()) {
      await mkdir(target, { recursive: true })
      await copyTree(source, target)
    } else if (entry.isFile()) await cp(source, target)
  }
}

const isNoCache = (source: string): boolean => !/node_modules\/\.(vite|cache|bin)/.test(source)
