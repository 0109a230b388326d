import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { freePort, throwAwayFolder } from '@parley/devstack'
import { afterEach, expect, test, vi } from 'vitest'

const root = join(import.meta.dirname, '..')
/** Several whole boots each, on a machine that does other things as well. */
vi.setConfig({ testTimeout: 240_000 })

const started: ChildProcess[] = []

type Ready = {
  apiUrl: string
  gatewayUrls: string[]
  mongodbUri: string
  redisUrl: string
  tokens: Record<'user1' | 'user2' | 'admin' | 'agent', string>
  pids: { api: number; gateways: number[]; worker: number; mongod: number; redis: number }
}

afterEach(() => {
  for (const child of started.splice(0)) child.kill('SIGKILL')
})

/** `npm start -- --json …` on free ports, as a person's script would run it, until its line is there. */
async function npmStart(...args: string[]) {
  const ports = ['--api-port', String(await freePort()), '--gateway-port', String(await freePort())]
  const npm = spawn('npm', ['start', '--', '--json', ...ports, ...args], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  started.push(npm)
  const output = { out: '', err: '' }
  npm.stdout.on('data', (chunk) => {
    output.out += chunk
  })
  npm.stderr.on('data', (chunk) => {
    output.err += chunk
  })
  const code = once(npm, 'close').then(([status]) => status)
  await vi.waitFor(() => {
    if (npm.exitCode !== null) throw new Error(`npm start ended: ${output.err}`)
    expect(output.out).toContain('\n')
  }, 90_000)
  const ready: Ready = JSON.parse(output.out)
  return { npm, output, code, ready }
}

function allPids({ pids }: Ready): number[] {
  return [pids.api, ...pids.gateways, pids.worker, pids.mongod, pids.redis]
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

async function expectAllGone(ready: Ready): Promise<void> {
  await vi.waitFor(() => expect(allPids(ready).filter(isAlive)).toEqual([]), 5_000)
}

async function call(
  url: string,
  token: string,
  body?: object,
): Promise<{ status: number; body: { id?: string } }> {
  const answer = await fetch(url, {
    method: body ? 'POST' : 'GET',
    headers: { authorization: `Bearer ${token}`, ...(body && { 'content-type': 'application/json' }) },
    ...(body && { body: JSON.stringify(body) }),
  })
  return { status: answer.status, body: (await answer.json()) as { id?: string } }
}

test('one line says where everything is, and Ctrl-C ends it all within 5 s with code 0', async () => {
  const { npm, output, code, ready } = await npmStart('--ephemeral', '--gateways', '2')
  expect(output.out.trimEnd().split('\n')).toHaveLength(1)
  expect(ready.gatewayUrls).toHaveLength(2)
  for (const url of [ready.apiUrl, ...ready.gatewayUrls]) {
    expect((await fetch(`${url}/health/ready`)).status).toBe(200)
  }
  for (const [who, type] of [
    ['user1', 'user'],
    ['user2', 'user'],
    ['admin', 'user'],
    ['agent', 'agent'],
  ] as const) {
    const me = await call(`${ready.apiUrl}/me`, ready.tokens[who])
    expect(me.body).toMatchObject({ id: who, type, orgId: 'demo' })
  }
  expect(allPids(ready).filter(isAlive)).toHaveLength(6)
  const asked = performance.now()
  npm.kill('SIGINT')
  expect(await code).toBe(0)
  expect(performance.now() - asked).toBeLessThan(5_000)
  expect(allPids(ready).filter(isAlive)).toEqual([])
})

test('npm killed with -9 leaves nothing running', async () => {
  const { npm, ready } = await npmStart('--ephemeral')
  npm.kill('SIGKILL')
  await expectAllGone(ready)
})

test('a service and a store that die come back on their ports, and the data is there the next time', async () => {
  const folder = await throwAwayFolder()
  const first = await npmStart('--data-dir', folder.path)
  const { apiUrl, tokens, pids } = first.ready
  const made = await call(`${apiUrl}/conversations`, tokens.user1, { title: 'Kept' })
  expect(made.status).toBe(201)
  process.kill(pids.api, 'SIGKILL')
  process.kill(pids.mongod, 'SIGKILL')
  const path = `/conversations/${made.body.id}`
  await vi.waitFor(async () => expect((await call(apiUrl + path, tokens.user1)).status).toBe(200), {
    timeout: 60_000,
    interval: 100,
  })
  first.npm.kill('SIGTERM')
  expect(await first.code).toBe(0)

  const second = await npmStart('--data-dir', folder.path)
  // The token of the first run is good in the second.
  const found = await call(second.ready.apiUrl + path, tokens.user1)
  expect(found).toMatchObject({ status: 200, body: { id: made.body.id, title: 'Kept' } })
  second.npm.kill('SIGTERM')
  expect(await second.code).toBe(0)
  await folder.remove()
})
