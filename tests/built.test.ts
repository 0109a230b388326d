import { execFileSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { type Stack, startStack } from '@parley/devstack'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { createRest } from './support/rest.ts'
import { joinRoom, openSocket } from './support/socket.ts'
import { until } from './support/until.ts'

const root = join(import.meta.dirname, '..')

let stack: Stack
beforeAll(async () => {
  execFileSync(process.execPath, [join(root, 'node_modules', 'typescript', 'bin', 'tsc'), '-b'], {
    cwd: root,
    stdio: 'pipe',
  })
  stack = await startStack({ built: true, workers: 1, mongodbUri: inject('mongodbUri') })
})
afterAll(() => stack?.close())

test('what is built and deployed takes messages, delivers them and writes a summary', async () => {
  const rest = await createRest(stack.apiUrl)
  const token = stack.token({ sub: 'ada', orgId: `org-${randomUUID()}` })
  const { id } = await rest.must<{ id: string }>('POST', '/conversations', { token, body: {} })
  const socket = await openSocket(stack.gatewayUrls[0] ?? '', token)
  await joinRoom(socket, id)
  const heard: number[] = []
  socket.on('message:new', ({ seq }: { seq: number }) => heard.push(seq))
  for (let n = 1; n <= 10; n++) {
    const body = { conversationId: id, role: 'user', content: `The harbour master counted ${n} boats.` }
    await rest.must('POST', '/messages', { token, body })
  }
  await until(() => heard.length === 10)
  expect(heard).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
  const summary = await until(
    async () =>
      (await rest.must<{ contextSummary: string | null }>('GET', `/conversations/${id}`, { token }))
        .contextSummary,
  )
  expect(summary).toContain('harbour master')
  socket.disconnect()
})
