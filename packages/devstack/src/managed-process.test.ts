import { afterEach, expect, test, vi } from 'vitest'
import { childEnvironment } from './environment.ts'
import { createManagedProcess, type ManagedProcess, type ProcessSpec } from './managed-process.ts'

const made: ManagedProcess[] = []

afterEach(async () => {
  await Promise.all(made.splice(0).map((process) => process.destroy()))
})

/** A Node process that runs `script`, and what its supervisor says about it. */
function managed(script: string, spec: Partial<ProcessSpec> = {}) {
  const said: string[] = []
  const managedProcess: ManagedProcess = createManagedProcess({
    name: 'api-0',
    command: process.execPath,
    args: ['-e', script],
    env: childEnvironment(),
    cwd: import.meta.dirname,
    readiness: async () => managedProcess.lines.includes('ready') || 'it has not said so',
    readyTimeoutMs: 5_000,
    supervise: false,
    forwardOutput: false,
    log: (line) => said.push(line),
    ...spec,
  })
  made.push(managedProcess)
  return { process: managedProcess, said }
}

const stays = 'setInterval(() => {}, 1000)'

test('one that dies before it is ready fails at once, with its last words', async () => {
  const { process } = managed(`console.error('JWT_SECRET is missing'); process.exitCode = 1`, {
    supervise: true,
    readyTimeoutMs: 60_000,
  })
  await expect(process.start()).rejects.toThrow(
    /^api-0 ended with code 1\. Its last lines:\n {2}JWT_SECRET is missing/,
  )
})

test('one that never gets ready fails after its time, with its last lines', async () => {
  const { process } = managed(`console.log('waiting for Redis'); ${stays}`, {
    readyTimeoutMs: 700,
    // However long it takes to come that far.
    readiness: () =>
      vi.waitFor(() => {
        expect(process.lines).toHaveLength(1)
        return 'it has not said so'
      }),
  })
  await expect(process.start()).rejects.toThrow(
    /^api-0 was not ready after 0\.7 s \(it has not said so\)\. Its last lines:\n {2}waiting for Redis$/,
  )
})

test('a program that does not exist fails with its name', async () => {
  const { process } = managed('', { command: '/nowhere/mongod' })
  await expect(process.start()).rejects.toThrow(/could not be started[\s\S]*\/nowhere\/mongod/)
})

test('supervised, it comes back after a death of its own, and says so', async () => {
  const { process, said } = managed(`console.log('ready'); ${stays}`, { supervise: true })
  await process.start()
  const first = process.pid
  await process.kill()
  await vi.waitFor(() => expect(process.pid ?? first).not.toBe(first))
  await vi.waitFor(() => expect(said).toContain('api-0 is back'))
  expect(said[0]).toBe('api-0 was ended by SIGKILL; starting it again')
})

test('one that takes no SIGTERM is killed after its grace', async () => {
  const { process } = managed(`process.on('SIGTERM', () => {}); console.log('ready'); ${stays}`)
  await process.start()
  expect(await process.stop(200)).toEqual({ code: null, signal: 'SIGKILL' })
  expect(process.pid).toBeUndefined()
  expect(await process.stop(200)).toBeNull()
})

test('one that goes by itself says with which code', async () => {
  const { process } = managed(`process.on('SIGTERM', () => process.exit(3)); console.log('ready'); ${stays}`)
  await process.start()
  expect(await process.stop(5_000)).toEqual({ code: 3, signal: null })
})

test('it keeps the last 200 lines', async () => {
  const { process } = managed(
    `for (let i = 1; i <= 500; i += 1) console.log(i); console.log('ready'); ${stays}`,
  )
  await process.start()
  expect(process.lines).toHaveLength(200)
  expect(process.lines.slice(-2)).toEqual(['500', 'ready'])
})
