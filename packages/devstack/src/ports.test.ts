import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterEach, expect, test } from 'vitest'

const started: ChildProcess[] = []
afterEach(() => {
  for (const child of started.splice(0)) child.kill('SIGKILL')
})

/** The ports that a process of its own has taken, and keeps. */
async function taken(): Promise<number[]> {
  const script = join(import.meta.dirname, 'testing/take-ports.ts')
  const child = spawn(process.execPath, ['--conditions=@parley/source', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  started.push(child)
  const [line] = await once(createInterface({ input: child.stdout }), 'line')
  return JSON.parse(line)
}

test('processes that look for ports at the same moment get different ones, though nobody listens there yet', async () => {
  const [one, other] = await Promise.all([taken(), taken()])
  expect(one.filter((port) => other.includes(port))).toEqual([])
})
