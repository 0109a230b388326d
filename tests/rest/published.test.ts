import { randomUUID } from 'node:crypto'
import { ALL_PARTITIONS, eventsKey, PUBLISHED_EVENTS, type PublishedEventType } from '@parley/contract'
import { type Stack, startStack } from '@parley/devstack'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, expect, inject, it } from 'vitest'
import { createRest, type Rest } from '../support/rest.ts'
import { until } from '../support/until.ts'

let stack: Stack
let rest: Rest
let redis: Redis
beforeAll(async () => {
  stack = await startStack({ gateways: 0, workers: 0, mongodbUri: inject('mongodbUri') })
  rest = await createRest(stack.apiUrl)
  redis = new Redis(stack.redisUrl)
})
afterAll(async () => {
  redis?.disconnect()
  await stack?.close()
})

const org = `org-${randomUUID()}`
const token = (sub: string, roles?: string[]) =>
  stack.token({ sub, orgId: org, type: 'user', ...(roles && { roles }) })

async function published(): Promise<{ type: string; data: string | undefined }[]> {
  const streams = await Promise.all(
    ALL_PARTITIONS.map((partition) => redis.xrange(eventsKey(partition), '-', '+')),
  )
  return streams.flat().flatMap(([, fields]) => {
    const entry = Object.fromEntries(
      Array.from({ length: fields.length / 2 }, (_, i) => [fields[2 * i], fields[2 * i + 1]]),
    )
    return entry.org === org ? [{ type: entry.type ?? '', data: entry.data }] : []
  })
}

it('what is published has the form that the contract gives it, whatever happened', async () => {
  const ada = token('ada')
  const call = <T>(method: string, path: string, body?: object): Promise<T> =>
    rest.must<T>(method, path, { token: ada, ...(body && { body }) })
  const { id } = await call<{ id: string }>('POST', '/conversations', { title: 'Engine' })
  const path = `/conversations/${id}`
  await call('POST', `${path}/participants`, { type: 'user', id: 'bob' })
  const message = { conversationId: id, role: 'user', content: 'one' }
  const { id: first } = await call<{ id: string }>('POST', '/messages', message)
  await call('POST', '/messages', { ...message, content: 'two' })
  await rest.must('POST', `${path}/read`, { token: token('bob'), body: { seq: 1 } })
  await call('DELETE', `/messages/${first}`)
  await call('PUT', path, { title: 'Difference engine' })
  await call('DELETE', `${path}/participants/user/bob`)
  await call('DELETE', path)
  await rest.must('POST', '/auth/revoke', {
    token: token('boss', ['admin']),
    body: { type: 'user', id: 'bob' },
  })

  // Ended answers come from gateways, and voids from sends that failed.
  const rare: string[] = ['message.updated', 'message.void'] satisfies PublishedEventType[]
  const expected = Object.keys(PUBLISHED_EVENTS).filter((type) => !rare.includes(type))
  await until(async () => {
    const types = new Set((await published()).map(({ type }) => type))
    return expected.every((type) => types.has(type))
  })
  const withData = (await published()).filter(({ data }) => data !== undefined)
  expect(withData.length).toBeGreaterThan(5)
  for (const { type, data = '' } of withData) {
    const schema = PUBLISHED_EVENTS[type as PublishedEventType]
    expect({ type, ...schema.safeParse(JSON.parse(data)) }).toMatchObject({ type, success: true })
  }
})
