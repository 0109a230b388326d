import { randomUUID } from 'node:crypto'
import { type Stack, startStack } from '@parley/devstack'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { createRest, type Rest } from '../support/rest.ts'

interface Conversation {
  id: string
  status: string
  changeSeq: number
  lastSeq: number
  messageCount: number
  participantCount: number
  lastMessage: { preview: string } | null
  me: { readSeq: number; unread: number } | null
}
interface Page<T> {
  data: T[]
  page: { nextCursor: string | null; hasMore: boolean }
}

let stack: Stack
let rest: Rest
beforeAll(async () => {
  stack = await startStack({
    apis: 2,
    gateways: 0,
    workers: 0,
    mongodbUri: inject('mongodbUri'),
    env: { RATE_LIMIT_REST: '0', RATE_LIMIT_SEND: '0' },
  })
  rest = await createRest(stack.apiUrl)
})
afterAll(() => stack?.close())

const org = `org-${randomUUID()}`
/** Names that only careful quoting brings through a path. */
const AWKWARD = ['a/b c', 'ü€😀', '%2F..', 'x'.repeat(128), '__proto__', 'user:ada']
const token = (sub: string, more: object = {}) => stack.token({ sub, orgId: org, type: 'user', ...more })
const person = (id: string, role?: string) => ({ type: 'user', id, ...(role && { role }) })

async function conversation(by: string, body: object = {}): Promise<string> {
  const { id } = await rest.must<Conversation>('POST', '/conversations', { token: token(by), body })
  return id
}

describe('a conversation by REST', () => {
  it('lives: made, spoken in, read, changed, left, closed, deleted', async () => {
    const [ada, bob] = [token('ada', { name: 'Ada' }), token('bob')]
    const id = await conversation('ada', { title: 'Engine', participants: [person('bob')] })
    const path = `/conversations/${id}`
    for (const content of ['one', 'two']) {
      await rest.must('POST', '/messages', {
        token: ada,
        body: { conversationId: id, role: 'user', content },
      })
    }
    const seen = await rest.must<Conversation>('GET', path, { token: bob })
    expect(seen).toMatchObject({
      lastSeq: 2,
      messageCount: 2,
      lastMessage: { preview: 'two' },
      me: { unread: 2 },
    })
    expect(await rest.must('POST', `${path}/read`, { token: bob, body: { seq: 1 } })).toEqual({
      readSeq: 1,
      unread: 1,
    })
    await rest.must('PUT', path, { token: ada, body: { title: 'Analytical engine' } })
    expect((await rest.call('DELETE', `${path}/participants/user/bob`, { token: bob })).status).toBe(204)
    expect((await rest.call('GET', path, { token: bob })).status).toBe(404)
    for (const [verb, status] of [
      ['archive', 'archived'],
      ['close', 'closed'],
      ['reopen', 'active'],
    ] as const) {
      expect((await rest.must<Conversation>('POST', `${path}/${verb}`, { token: ada })).status).toBe(status)
    }
    const changes = await rest.must<{ data: { changeSeq: number }[]; page: { lastChangeSeq: number } }>(
      'GET',
      `${path}/changes?after=0`,
      { token: ada },
    )
    expect(changes.page.lastChangeSeq).toBe(5)
    const audit = await rest.must<Page<{ action: string }>>('GET', `${path}/audit`, { token: ada })
    expect(audit.data.map(({ action }) => action)).toEqual([
      'conversation.reopen',
      'conversation.close',
      'conversation.archive',
      'participant.remove',
      'conversation.update',
      'conversation.create',
    ])
    expect((await rest.call('DELETE', path, { token: ada })).status).toBe(204)
    expect((await rest.call('DELETE', path, { token: ada })).status).toBe(404)
  })

  it('takes names of every kind, in bodies and in paths', async () => {
    const id = await conversation('ada')
    for (const name of AWKWARD) {
      const added = await rest.call('POST', `/conversations/${id}/participants`, {
        token: token('ada'),
        body: person(name),
      })
      expect([added.status, added.body.id]).toEqual([201, name])
      expect((await rest.call('GET', `/conversations/${id}`, { token: token(name) })).status).toBe(200)
      const removed = await rest.call(
        'DELETE',
        `/conversations/${id}/participants/user/${encodeURIComponent(name)}`,
        {
          token: token('ada'),
        },
      )
      expect([name, removed.status]).toEqual([name, 204])
    }
    const { participantCount } = await rest.must<Conversation>('GET', `/conversations/${id}`, {
      token: token('ada'),
    })
    expect(participantCount).toBe(1)
  })

  it('answers a stranger word for word as where there is nothing', async () => {
    const id = await conversation('ada')
    const missing = `${id.slice(0, -4)}0000`
    const said = async (caller: string, cid: string) => {
      const { status, body } = await rest.call('GET', `/conversations/${cid}`, { token: caller })
      const { requestId, instance, ...same } = body
      expect(instance).toBe(`/conversations/${cid}`)
      expect(requestId).toBeTruthy()
      return { status, ...same }
    }
    const nothing = await said(token('ada'), missing)
    expect(nothing.status).toBe(404)
    expect(await said(token('bob'), id)).toEqual(nothing)
    expect(await said(stack.token({ sub: 'ada', orgId: `not-${org}`, type: 'user' }), id)).toEqual(nothing)
  })

  it.each([
    ['GET', '/conversations/nonsense', undefined, 404, 'not_found'],
    ['PUT', '/conversations/my-conversations', { title: 'x' }, 404, 'not_found'],
    ['POST', '/conversations', { title: 7 }, 422, 'validation_failed'],
    ['POST', '/conversations', { titel: 'x' }, 422, 'validation_failed'],
    ['POST', '/conversations', { participants: [{ type: 'robot', id: 'x' }] }, 422, 'validation_failed'],
    ['POST', '/conversations', { metadata: { $where: '1' } }, 422, 'validation_failed'],
    ['POST', '/conversations', { metadata: { big: 'x'.repeat(8_200) } }, 422, 'validation_failed'],
    ['POST', '/conversations', '{"title":', 400, 'bad_request'],
    ['GET', '/conversations?limit=0', undefined, 422, 'validation_failed'],
    ['GET', '/conversations?limit=1.5', undefined, 422, 'validation_failed'],
    ['GET', '/conversations?status[$ne]=active', undefined, 422, 'validation_failed'],
    ['GET', '/conversations?status=active&status=closed', undefined, 422, 'validation_failed'],
    ['GET', '/conversations?cursor=nonsense', undefined, 400, 'invalid_cursor'],
    ['GET', '/conversations/my-conversations?status=active', undefined, 422, 'validation_failed'],
    ['GET', '/conversations/agent/%00', undefined, 404, 'not_found'],
    ['PATCH', '/conversations', {}, 405, 'method_not_allowed'],
    ['GET', '/conversations/', undefined, 404, 'not_found'],
    ['GET', '/conversations/nobodys/', undefined, 404, 'not_found'],
  ] as const)('%s %s is refused', async (method, path, body, status, code) => {
    const answer = await rest.call(method, path, { token: token('ada'), ...(body !== undefined && { body }) })
    expect([answer.status, answer.code]).toEqual([status, code])
  })

  it('refuses what is wrong with one that exists, and stays as it was', async () => {
    const id = await conversation('ada', { title: 'As it was' })
    const before = await rest.must('GET', `/conversations/${id}`, { token: token('ada') })
    for (const [method, path, body, status] of [
      ['PUT', '', { status: 'gone' }, 422],
      ['PUT', '', { title: 'x'.repeat(201) }, 422],
      ['PUT', '', { id: 'other' }, 422],
      ['PUT', '', { metadata: { constructor: 1 } }, 422],
      ['PUT', '', '[]', 422],
      ['POST', '/read', { seq: -1 }, 422],
      ['POST', '/read', { seq: { $gt: 0 } }, 422],
      ['POST', '/participants', { type: 'user', id: '' }, 422],
      ['POST', '/participants', { type: 'user', id: 'a\u0000b' }, 422],
      ['POST', '/participants', { type: 'user', id: '\ud800' }, 422],
      ['POST', '/participants', { type: 'user', id: 'x', role: 'king' }, 422],
      ['POST', '/close', { why: 'x' }, 422],
      ['DELETE', '/participants/robot/x', undefined, 422],
      ['DELETE', '/participants/user/nobody', undefined, 404],
      ['DELETE', '/participants/user/ada', undefined, 409],
      ['GET', '/changes?after=-1', undefined, 422],
    ] as const) {
      const answer = await rest.call(method, `/conversations/${id}${path}`, {
        token: token('ada'),
        ...(body !== undefined && { body }),
      })
      expect([method, path, body, answer.status]).toEqual([method, path, body, status])
    }
    expect(await rest.must('GET', `/conversations/${id}`, { token: token('ada') })).toEqual(before)
  })

  it('is one auto conversation for 100 requests over two processes', async () => {
    const agent = token('helper', { type: 'agent' })
    const apis = await Promise.all(stack.apiUrls.map((url) => createRest(url)))
    const answers = await Promise.all(
      Array.from({ length: 100 }, (_, i) =>
        (apis[i % apis.length] ?? rest).call<Conversation>('POST', '/conversations/agent/helper/auto', {
          token: agent,
        }),
      ),
    )
    expect(new Set(answers.map(({ body }) => body.id)).size).toBe(1)
    expect(answers.map(({ status }) => status).filter((status) => status === 201)).toHaveLength(1)
    const refused = await rest.call('POST', '/conversations/agent/helper/auto', { token: token('ada') })
    expect(refused.code).toBe('forbidden')
  })

  it('shows its last message at once, whichever process is asked', async () => {
    const apis = await Promise.all(stack.apiUrls.map((url) => createRest(url)))
    const id = await conversation('ada')
    for (let seq = 1; seq <= 30; seq++) {
      const [writer = rest, reader = rest] = seq % 2 ? apis : [...apis].reverse()
      await writer.must('POST', '/messages', {
        token: token('ada'),
        body: { conversationId: id, role: 'user', content: `line ${seq}` },
      })
      const [one, list] = await Promise.all([
        reader.must<Conversation>('GET', `/conversations/${id}`, { token: token('ada') }),
        reader.must<Page<Conversation>>('GET', '/conversations', { token: token('ada') }),
      ])
      for (const seen of [one, list.data.find((conversation) => conversation.id === id)]) {
        expect(seen).toMatchObject({
          lastSeq: seq,
          messageCount: seq,
          lastMessage: { preview: `line ${seq}` },
        })
      }
    }
  })
})
