import { randomUUID } from 'node:crypto'
import { type Stack, startStack } from '@parley/devstack'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { createRest, type Rest } from '../support/rest.ts'

let stack: Stack
let rest: Rest
let second: Rest
beforeAll(async () => {
  stack = await startStack({ apis: 2, gateways: 0, workers: 0, mongodbUri: inject('mongodbUri') })
  rest = await createRest(stack.apiUrls[0] ?? '')
  second = await createRest(stack.apiUrls[1] ?? '')
})
afterAll(() => stack?.close())

const orgId = `org-${randomUUID()}`
const person = (sub: string, more: { name?: string; picture?: string; roles?: string[] } = {}) =>
  stack.token({ sub, orgId, ...more })

describe('GET /me', () => {
  it('says who one is and what is unread, at once after a message', async () => {
    const token = person('ada', { name: 'Ada', roles: ['member', 'billing'] })
    expect(await rest.must('GET', '/me', { token })).toEqual({
      type: 'user',
      id: 'ada',
      orgId,
      roles: ['member'],
      name: 'Ada',
      unread: { conversations: 0, messages: 0 },
    })
    const bob = person('bob')
    const ids: string[] = []
    for (let i = 0; i < 2; i++) {
      const body = { participants: [{ type: 'user', id: 'ada' }] }
      ids.push((await rest.must<{ id: string }>('POST', '/conversations', { token: bob, body })).id)
    }
    for (const conversationId of [...ids, ...ids, ids[0]]) {
      const body = { conversationId, role: 'user', content: 'hello' }
      await rest.must('POST', '/messages', { token: bob, body })
    }
    const unread = async (who: string) => (await second.must('GET', '/me', { token: who })).unread
    expect(await unread(token)).toEqual({ conversations: 2, messages: 5 })
    await rest.must('POST', `/conversations/${ids[0]}/read`, { token, body: { seq: 2 } })
    expect(await unread(token)).toEqual({ conversations: 2, messages: 3 })
    await rest.must('DELETE', `/conversations/${ids[1]}`, { token: bob })
    expect(await unread(token)).toEqual({ conversations: 1, messages: 1 })
    // A sender has read their message, a moment later.
    await expect.poll(() => unread(bob), { timeout: 5_000 }).toEqual({ conversations: 0, messages: 0 })
  })
})

describe('POST /auth/dev-token', () => {
  it('makes tokens that work', async () => {
    const body = { sub: 'dev', type: 'agent', orgId, roles: ['admin'], name: 'Dev', expiresIn: 60 }
    const { token, expiresAt } = await rest.must<{ token: string; expiresAt: string }>(
      'POST',
      '/auth/dev-token',
      {
        body,
      },
    )
    expect(Date.parse(expiresAt) - Date.now()).toBeLessThanOrEqual(60_000)
    expect(await rest.must('GET', '/me', { token })).toMatchObject({
      type: 'agent',
      id: 'dev',
      roles: ['admin'],
      name: 'Dev',
    })
  })

  it('exists only where it is switched on', async () => {
    const closed = await startStack({
      gateways: 0,
      workers: 0,
      mongodbUri: inject('mongodbUri'),
      env: { AUTH_DEV_TOKENS: 'false' },
    })
    try {
      const response = await fetch(`${closed.apiUrl}/auth/dev-token`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ sub: 'x', orgId: 'y' }),
      })
      expect(response.status).toBe(404)
    } finally {
      await closed.close()
    }
  })
})

describe('POST /auth/revoke', () => {
  const revoke = (id: string) =>
    rest.call('POST', '/auth/revoke', {
      token: person('root', { roles: ['admin'] }),
      body: { type: 'user', id },
    })

  it('ends a person’s tokens on every process within a second, and no one else’s', async () => {
    const eve = person('eve')
    const namesake = stack.token({ sub: 'eve', orgId: `${orgId}-other` })
    for (const api of [rest, second]) expect((await api.call('GET', '/me', { token: eve })).status).toBe(200)
    expect((await revoke('eve')).status).toBe(204)
    expect((await rest.call('GET', '/me', { token: eve })).code).toBe('unauthenticated')
    await expect
      .poll(async () => (await second.call('GET', '/me', { token: eve })).code, {
        timeout: 1_000,
        interval: 50,
      })
      .toBe('unauthenticated')
    expect((await second.call('GET', '/me', { token: namesake })).status).toBe(200)
    expect((await second.call('GET', '/me', { token: person('frank') })).status).toBe(200)
  })

  it('holds after a restart, with Redis emptied', async () => {
    const mallory = person('mallory')
    expect((await revoke('mallory')).status).toBe(204)
    await stack.kill('redis-0')
    await stack.restart('api-1')
    expect((await second.call('GET', '/me', { token: mallory })).code).toBe('unauthenticated')
    const { degraded } = await second.must<{ degraded: string[] }>('GET', '/health/ready')
    expect(degraded).toEqual(['redis'])
    await stack.start('redis-0')
    await expect
      .poll(async () => (await second.must('GET', '/health/ready')).degraded, { timeout: 10_000 })
      .toEqual([])
  })
})

describe('names and pictures', () => {
  it('are those of the newest token that a person showed', async () => {
    const token = person('olga', { name: 'Olga' })
    const { id } = await rest.must<{ id: string }>('POST', '/conversations', {
      token,
      body: { participants: [{ type: 'user', id: 'ivan' }] },
    })
    const shown = async () => {
      const { data } = await rest.must<{
        data: { id: string; name: string | null; avatarUrl: string | null }[]
      }>('GET', `/conversations/${id}/participants`, { token })
      return Object.fromEntries(
        data.map((participant) => [participant.id, [participant.name, participant.avatarUrl]]),
      )
    }
    expect(await shown()).toEqual({ olga: ['Olga', null], ivan: [null, null] })
    const picture = 'https://img.test/ivan.png'
    await second.must('GET', '/me', { token: person('ivan', { name: 'Ivan', picture }) })
    await expect.poll(shown, { timeout: 3_000 }).toEqual({ olga: ['Olga', null], ivan: ['Ivan', picture] })
  })
})
