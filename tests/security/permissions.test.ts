import { randomUUID } from 'node:crypto'
import { type Stack, startStack } from '@parley/devstack'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import {
  all,
  CALLERS,
  type Callers,
  createCallers,
  everyone,
  insiders,
  messageRole,
  NOTHING,
  type Rule,
  rule,
  type Scene,
  verdictOf,
  type Who,
} from '../support/callers.ts'
import { createRest, type Rest } from '../support/rest.ts'

let stack: Stack
let rest: Rest
let callers: Callers
beforeAll(async () => {
  stack = await startStack({
    gateways: 0,
    workers: 0,
    mongodbUri: inject('mongodbUri'),
    env: { RATE_LIMIT_REST: '0', RATE_LIMIT_SEND: '0' },
  })
  rest = await createRest(stack.apiUrl)
  callers = createCallers(stack, rest)
})
afterAll(() => stack?.close())

interface Call extends Rule {
  method: string
  path: (scene: Scene) => string
  body?: (scene: Scene, who: Who) => unknown
}

const managers = ['owner', 'admin', 'adminObserver'] as const
const reading = rule(...insiders)
const owning = rule(...managers)
const anybody = { allow: all, forbid: [] }

const CALLS: Record<string, Call> = {
  'read a conversation': { method: 'GET', path: (s) => `/conversations/${s.conversationId}`, ...reading },
  'list participants': {
    method: 'GET',
    path: (s) => `/conversations/${s.conversationId}/participants`,
    ...reading,
  },
  'read changes': { method: 'GET', path: (s) => `/conversations/${s.conversationId}/changes`, ...reading },
  'read context': { method: 'GET', path: (s) => `/conversations/${s.conversationId}/context`, ...reading },
  'list messages': {
    method: 'GET',
    path: (s) => `/messages/conversation/${s.conversationId}`,
    ...reading,
  },
  'list messages from a seq': {
    method: 'GET',
    path: (s) => `/messages/conversation/${s.conversationId}?after=0`,
    ...reading,
  },
  'list messages by role': {
    method: 'GET',
    path: (s) => `/messages/conversation/${s.conversationId}/role/user`,
    ...reading,
  },
  'list attachments': {
    method: 'GET',
    path: (s) => `/messages/conversation/${s.conversationId}/attachments`,
    ...reading,
  },
  search: {
    method: 'GET',
    path: (s) => `/messages/conversation/${s.conversationId}/search?q=swordfish`,
    ...reading,
  },
  'read the last messages': {
    method: 'GET',
    path: (s) => `/messages/conversation/${s.conversationId}/last/10`,
    ...reading,
  },
  'read statistics': {
    method: 'GET',
    path: (s) => `/messages/conversation/${s.conversationId}/statistics`,
    ...reading,
  },
  'read a thread': { method: 'GET', path: (s) => `/messages/thread/${s.messageId}`, ...reading },
  'read a message': { method: 'GET', path: (s) => `/messages/${s.messageId}`, ...reading },

  'read the audit': { method: 'GET', path: (s) => `/conversations/${s.conversationId}/audit`, ...owning },
  update: {
    method: 'PUT',
    path: (s) => `/conversations/${s.conversationId}`,
    body: () => ({ title: 'New' }),
    ...owning,
  },
  archive: { method: 'POST', path: (s) => `/conversations/${s.conversationId}/archive`, ...owning },
  close: { method: 'POST', path: (s) => `/conversations/${s.conversationId}/close`, ...owning },
  reopen: { method: 'POST', path: (s) => `/conversations/${s.conversationId}/reopen`, ...owning },
  'delete a conversation': {
    method: 'DELETE',
    path: (s) => `/conversations/${s.conversationId}`,
    ...owning,
  },
  'add a participant': {
    method: 'POST',
    path: (s) => `/conversations/${s.conversationId}/participants`,
    body: () => ({ type: 'user', id: 'newcomer' }),
    ...owning,
  },
  'make oneself owner': {
    method: 'POST',
    path: (s) => `/conversations/${s.conversationId}/participants`,
    body: (_, who) => {
      const claims = CALLERS[who]
      return { type: claims?.type ?? 'user', id: claims?.sub ?? 'nobody', role: 'owner' }
    },
    ...owning,
  },
  'remove a participant': {
    method: 'DELETE',
    path: (s) => `/conversations/${s.conversationId}/participants/user/mary`,
    ...rule(...managers, 'member'),
  },

  summarize: {
    method: 'POST',
    path: (s) => `/conversations/${s.conversationId}/summary`,
    ...rule(...managers, 'member', 'agent'),
  },
  'mark as read': {
    method: 'POST',
    path: (s) => `/conversations/${s.conversationId}/read`,
    body: () => ({ seq: 1 }),
    ...rule('owner', 'member', 'observer', 'agent', 'adminObserver'),
  },
  'send a message': {
    method: 'POST',
    path: () => '/messages',
    body: (s, who) => ({
      conversationId: s.conversationId,
      role: messageRole(who),
      content: 'hello',
    }),
    ...rule('owner', 'member', 'agent'),
  },
  'answer in a thread': {
    method: 'POST',
    path: () => '/messages',
    body: (s, who) => ({
      conversationId: s.conversationId,
      parentId: s.messageId,
      role: messageRole(who),
      content: 'hello',
    }),
    ...rule('owner', 'member', 'agent'),
  },
  'delete a message': {
    method: 'DELETE',
    path: (s) => `/messages/${s.messageId}`,
    ...rule(...managers, 'member'),
  },

  'list conversations': { method: 'GET', path: () => '/conversations', ...anybody },
  'list my conversations': { method: 'GET', path: () => '/conversations/my-conversations', ...anybody },
  'list an agent’s conversations': {
    method: 'GET',
    path: () => '/conversations/agent/helper',
    ...anybody,
  },
  'ask who I am': { method: 'GET', path: () => '/me', ...anybody },
  'start a conversation': {
    method: 'POST',
    path: () => '/conversations',
    body: () => ({ title: 'Mine' }),
    ...anybody,
  },
  'find the auto conversation': {
    method: 'POST',
    path: () => '/conversations/agent/helper/auto',
    allow: ['agent', 'admin', 'adminObserver', 'awayAgent', 'awayAdmin'],
    forbid: ['owner', 'member', 'observer', 'outsider', 'otherAgent', 'userNamedAsAgent', 'awayOwner'],
  },
  'revoke tokens': {
    method: 'POST',
    path: () => '/auth/revoke',
    body: () => ({ type: 'user', id: `someone-${randomUUID()}` }),
    allow: ['admin', 'adminObserver', 'awayAdmin'],
    forbid: all.filter((who) => !['admin', 'adminObserver', 'awayAdmin'].includes(who)),
  },
}

const strip = (body: Record<string, unknown>) => ({ ...body, requestId: '', instance: '' })

describe.concurrent('the permission matrix', () => {
  it.each(Object.entries(CALLS))('%s', async (_name, call) => {
    const untouched = await callers.scene()
    const before = await callers.state(untouched)
    for (const who of everyone) {
      const verdict = verdictOf(call, who)
      const here = verdict === 'ok' && call.method !== 'GET' ? await callers.scene() : untouched
      const answer = await rest.patiently(call.method, call.path(here), {
        token: callers.tokenOf(who),
        ...(call.body ? { body: call.body(here, who) } : {}),
      })
      const outcome = answer.status < 300 ? 'ok' : answer.code
      expect(`${who}: ${outcome}`).toBe(`${who}: ${verdict}`)
      if (outcome !== 'not_found') continue
      const absent = await rest.patiently(call.method, call.path(NOTHING), {
        token: callers.tokenOf(who),
        ...(call.body ? { body: call.body(NOTHING, who) } : {}),
      })
      expect(strip(answer.body), 'told apart from what does not exist').toEqual(strip(absent.body))
    }
    expect(await callers.state(untouched), 'somebody without permission has changed something').toEqual(
      before,
    )
  })
})

describe('lists', () => {
  it('hold what one may see, and nothing of another org', async () => {
    const { conversationId } = await callers.scene()
    const listed = async (who: Who, path: string) => {
      const { data } = await rest.must<{ data: { id: string; orgId: string }[] }>('GET', path, {
        token: callers.tokenOf(who),
      })
      for (const { orgId } of data) expect(orgId).toBe(CALLERS[who]?.orgId)
      return data.some(({ id }) => id === conversationId)
    }
    const seen: Record<string, string[]> = {}
    for (const path of ['', '/my-conversations', '/agent/helper']) {
      seen[path] = []
      for (const who of all) if (await listed(who, `/conversations${path}?limit=100`)) seen[path].push(who)
    }
    expect(seen).toEqual({
      '': [...insiders],
      '/my-conversations': ['owner', 'member', 'observer', 'agent', 'adminObserver'],
      '/agent/helper': [...insiders],
    })
  })

  it('do not find another org’s conversation by its own key', async () => {
    const externalId = `ticket-${randomUUID()}`
    const create = (who: Who) =>
      rest.call('POST', '/conversations', { token: callers.tokenOf(who), body: { externalId } })
    expect((await create('owner')).status).toBe(201)
    expect((await create('awayOwner')).status).toBe(201)
    expect((await create('owner')).status).toBe(200)
    expect((await create('outsider')).code).toBe('conflict')
  })
})

describe('roles', () => {
  it('of messages are one’s own, and usage is for agents to tell', async () => {
    const { conversationId } = await callers.scene()
    const send = async (who: Who, body: object) =>
      (
        await rest.call('POST', '/messages', {
          token: callers.tokenOf(who),
          body: { conversationId, content: 'x', ...body },
        })
      ).code ?? 'ok'
    const usage = { inputTokens: 1, outputTokens: 1 }
    expect(await send('member', { role: 'assistant' })).toBe('role_not_allowed')
    expect(await send('member', { role: 'tool' })).toBe('role_not_allowed')
    expect(await send('member', { role: 'system' })).toBe('role_not_allowed')
    expect(await send('agent', { role: 'user' })).toBe('role_not_allowed')
    expect(await send('agent', { role: 'system' })).toBe('role_not_allowed')
    expect(await send('member', { role: 'user', usage })).toBe('role_not_allowed')
    expect(await send('member', { role: 'user', model: 'x' })).toBe('role_not_allowed')
    expect(await send('agent', { role: 'assistant', usage, model: 'x' })).toBe('ok')
  })
})
