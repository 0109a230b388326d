import { randomUUID } from 'node:crypto'
import { type Stack, startStack } from '@parley/devstack'
import { MongoClient } from 'mongodb'
import { afterAll, beforeAll, describe, expect, inject, it, vi } from 'vitest'
import { createRest, type Rest, type RestAnswer } from '../support/rest.ts'

let stack: Stack
let rest: Rest
let mongo: MongoClient
let token: string
let conversationId: string
let otherConversationId: string
let messageId: string
let before: unknown

const org = `org-${randomUUID()}`
const KEPT = ['conversations', 'participants', 'messages', 'audit', 'summaries', 'revocations']

/** A checksum of everything stored. */
async function stored(): Promise<unknown> {
  const { collections } = await mongo.db().command({ dbHash: 1, collections: KEPT })
  return collections
}

beforeAll(async () => {
  stack = await startStack({
    gateways: 0,
    workers: 0,
    mongodbUri: inject('mongodbUri'),
    env: { RATE_LIMIT_REST: '0', RATE_LIMIT_SEND: '0' },
  })
  rest = await createRest(stack.apiUrl)
  mongo = await MongoClient.connect(stack.mongodbUri)
  token = stack.token({ sub: 'ada', orgId: org, roles: ['admin'] })
  const make = () =>
    rest.must<{ id: string }>('POST', '/conversations', {
      token,
      body: { title: 'Bad input', agentId: 'bot' },
    })
  conversationId = (await make()).id
  otherConversationId = (await make()).id
  for (const cid of [conversationId, otherConversationId]) {
    for (let i = 0; i < 5; i++) {
      const body = { conversationId: cid, role: 'user', content: `message ${i}` }
      messageId = (await rest.must<{ id: string }>('POST', '/messages', { token, body })).id
    }
    await rest.must('POST', `/conversations/${cid}/read`, { token, body: { seq: 5 } })
  }
  // What runs behind the sends comes to rest first.
  const unsettled = () => mongo.db().collection('messages').countDocuments({ unsettled: true })
  await vi.waitFor(async () => expect(await unsettled()).toBe(0), { interval: 50 })
  before = await stored()
})
afterAll(async () => {
  await mongo?.close()
  await stack?.close()
})

const deep = (levels: number): string => `${'{"a":'.repeat(levels)}1${'}'.repeat(levels)}`
const nest = (levels: number): unknown => JSON.parse(deep(levels))

function expectRefusal(answer: RestAnswer, status: number | number[], pointer?: string): void {
  const statuses = Array.isArray(status) ? status : [status]
  expect(statuses, answer.text.slice(0, 300)).toContain(answer.status)
  if (answer.status !== 422) return
  const errors = answer.body.errors as { pointer: string; detail: string }[] | undefined
  expect(errors?.length, answer.text).toBeGreaterThan(0)
  for (const { detail } of errors ?? []) expect(detail).not.toBe('')
  if (pointer !== undefined) {
    expect(errors?.map((error) => error.pointer)).toContainEqual(expect.stringMatching(pointer))
  }
}

/** Values that no text field takes. */
const NOT_TEXT: [string, unknown][] = [
  ['a number', 7],
  ['a list', ['x']],
  ['an operator', { $ne: null }],
  ['a pattern', { $regex: '.*' }],
  ['a BSON type', { _bsontype: 'ObjectId', id: 'x' }],
  ['NUL', 'a\0b'],
  ['a lone surrogate', 'a\ud800b'],
]
const BAD_JSON_OBJECTS: [string, unknown][] = [
  ['an operator', { $where: 'sleep(1000)' }],
  ['an operator deep down', { a: [{ b: { $gt: '' } }] }],
  ['a BSON type', { a: { _bsontype: 'Long' } }],
  ['a prototype key', JSON.parse('{"__proto__": {"admin": true}}')],
  ['a constructor', { constructor: { prototype: { admin: true } } }],
  ['NUL in a key', { 'a\0b': 1 }],
  ['NUL in a value', { a: 'x\0y' }],
  ['a lone surrogate', { a: '\udfff' }],
  ['40 levels', nest(40)],
]

describe('POST /messages refuses', () => {
  const send = (fields: Record<string, unknown>) =>
    rest.call('POST', '/messages', {
      token,
      body: { conversationId, role: 'user', content: 'x', ...fields },
    })

  it.each([...NOT_TEXT, ['more than 64 KiB', 'ä'.repeat(33_000)]])(
    'content that is %s',
    async (_, content) => {
      expectRefusal(await send({ content }), 422, '^/content')
    },
  )
  it.each(NOT_TEXT)('a clientMessageId that is %s', async (_, clientMessageId) => {
    expectRefusal(await send({ clientMessageId }), 422, '^/clientMessageId')
  })
  it.each(BAD_JSON_OBJECTS)('metadata with %s', async (_, metadata) => {
    expectRefusal(await send({ metadata }), 422, '^/metadata')
  })
  it.each(BAD_JSON_OBJECTS)('arguments of a tool call with %s', async (_, args) => {
    const call = { id: 'c', name: 'n', arguments: args }
    expectRefusal(await send({ toolCalls: [call] }), 422, '^/toolCalls/0/arguments')
  })
  it.each<[string, Record<string, unknown>, string]>([
    ['an unknown field', { colour: 'red' }, '^/colour$'],
    ['fields that are the server’s to set', { seq: 7, org: 'other', author: 'user:eve' }, '^/seq$'],
    ['an unknown role', { role: 'root' }, '^/role$'],
    ['a role that is an operator', { role: { $in: ['user'] } }, '^/role$'],
    ['an unknown type', { type: 'virus' }, '^/type$'],
    ['an id of wrong length', { conversationId: 'abc' }, '^/conversationId$'],
    ['an id that is an operator', { conversationId: { $gt: '' } }, '^/conversationId$'],
    ['an empty message', { content: '' }, '^/content$'],
    ['a parent elsewhere', { parentId: 'f'.repeat(24) }, '^/parentId$'],
    ['21 attachments', { attachments: Array(21).fill('https://a.test/x') }, '^/attachments'],
    ['33 tool calls', { toolCalls: Array(33).fill({ id: 'c', name: 'n', arguments: 1 }) }, '^/toolCalls'],
    ['9 KiB of metadata', { metadata: { text: 'x'.repeat(9_000) } }, '^/metadata$'],
    ['negative usage', { usage: { inputTokens: -1, outputTokens: 0 } }, '^/usage/inputTokens$'],
    ['fractional usage', { usage: { inputTokens: 0.5, outputTokens: 0 } }, '^/usage/inputTokens$'],
    ['usage without end', { usage: { inputTokens: 1e300, outputTokens: 0 } }, '^/usage/inputTokens$'],
  ])('%s', async (_, fields, pointer) => {
    expectRefusal(await send(fields), 422, pointer)
  })

  it.each([
    'http://a.test/x',
    'javascript:alert(1)',
    'file:///etc/passwd',
    'https://user:pass@a.test/x',
    'https://',
    'document:',
    'data:text/html,x',
    '//a.test/x',
    ' https://a.test/x',
    'https://a.test/\u0000',
    'https://a.test/\ud800',
    `https://a.test/${'x'.repeat(2_034)}`,
    `http://${'x'.repeat(3_000)}`,
    'document:_a',
    'document:a/b',
  ])('the attachment %j', async (attachment) => {
    const answer = await send({ attachments: ['https://a.test/', attachment] })
    expect(answer).toMatchObject({ status: 422, code: 'invalid_attachment' })
    expect(answer.text).toContain('/attachments/1')
  })

  it('a key in header and body that differ, and a key that is none', async () => {
    const keyed = (key: string, body: object) =>
      rest.call('POST', '/messages', {
        token,
        headers: { 'idempotency-key': key },
        body: { conversationId, role: 'user', content: 'x', ...body },
      })
    expectRefusal(await keyed('one', { clientMessageId: 'two' }), 422)
    expectRefusal(await keyed('x'.repeat(129), {}), 422)
  })
})

describe('bodies that are no JSON object', () => {
  const paths = () => [
    ['POST', '/conversations'],
    ['PUT', `/conversations/${conversationId}`],
    ['POST', `/conversations/${conversationId}/participants`],
    ['POST', `/conversations/${conversationId}/read`],
    ['POST', '/messages'],
    ['POST', '/auth/revoke'],
  ]
  it.each<[string, string, number]>([
    ['cut off', '{"title": "x', 400],
    ['empty', '', 422],
    ['a list', '[]', 422],
    ['text', '"x"', 422],
    ['null', 'null', 422],
    ['a number', '1', 422],
    ['not JSON', 'title=x', 400],
    ['single quotes', "{'title': 'x'}", 400],
    ['a trailing comma', '{"title": "x",}', 400],
    ['NaN', '{"seq": NaN}', 400],
    ['2 MB', JSON.stringify({ title: 'x'.repeat(2_000_000) }), 413],
    ['100,000 levels', deep(100_000), 422],
    ['a list of 300,000', `[${'1,'.repeat(300_000)}1]`, 422],
    ['a prototype key', '{"__proto__": {"title": "x"}}', 422],
  ])('%s', async (_, body, status) => {
    for (const [method = '', path = ''] of paths()) {
      expectRefusal(await rest.call(method, path, { token, body }), status)
    }
  })

  it('of other types than JSON', async () => {
    for (const type of [
      'text/plain',
      'application/x-www-form-urlencoded',
      'multipart/form-data; boundary=x',
      'x',
    ]) {
      for (const [method = '', path = ''] of paths()) {
        const answer = await rest.call(method, path, {
          token,
          body: 'a=b',
          headers: { 'content-type': type },
        })
        expectRefusal(answer, 415)
      }
    }
  })

  it('on calls that take none', async () => {
    for (const action of ['archive', 'close', 'reopen', 'summary']) {
      const answer = await rest.call('POST', `/conversations/${conversationId}/${action}`, {
        token,
        body: { force: true },
      })
      expectRefusal(answer, 422, '^/force$')
    }
  })
})

describe('conversations refuse', () => {
  it.each<[string, Record<string, unknown>, string]>([
    ...NOT_TEXT.map(([name, title]): [string, Record<string, unknown>, string] => [
      `a title that is ${name}`,
      { title },
      '^/title',
    ]),
    ...BAD_JSON_OBJECTS.map(([name, metadata]): [string, Record<string, unknown>, string] => [
      `metadata with ${name}`,
      { metadata },
      '^/metadata',
    ]),
    ['a title of 201', { title: 'x'.repeat(201) }, '^/title$'],
    ['a description of 2,001', { description: 'x'.repeat(2_001) }, '^/description$'],
    ['21 tags', { tags: Array.from({ length: 21 }, (_, i) => `t${i}`) }, '^/tags$'],
    ['a tag of 65', { tags: ['x'.repeat(65)] }, '^/tags/0$'],
    ['a tag that is an operator', { tags: [{ $ne: 1 }] }, '^/tags/0$'],
    ['metadata that is a list', { metadata: [] }, '^/metadata$'],
    ['unknown fields', { orgId: 'other' }, '^/orgId$'],
  ])('%s', async (_, body, pointer) => {
    expectRefusal(await rest.call('POST', '/conversations', { token, body }), 422, pointer)
    expectRefusal(await rest.call('PUT', `/conversations/${conversationId}`, { token, body }), 422, pointer)
  })

  it.each<[string, Record<string, unknown>, string]>([
    ['an agent that is an operator', { agentId: { $exists: true } }, '^/agentId$'],
    ['an agent with control characters', { agentId: 'a\nb' }, '^/agentId$'],
    ['an empty key of one’s own', { externalId: '' }, '^/externalId$'],
    ['a key of 129', { externalId: 'x'.repeat(129) }, '^/externalId$'],
    [
      '101 participants',
      { participants: Array.from({ length: 101 }, (_, i) => ({ type: 'user', id: `u${i}` })) },
      '^/participants$',
    ],
    ['a participant of no type', { participants: [{ id: 'x' }] }, '^/participants/0/type$'],
    [
      'an unknown role',
      { participants: [{ type: 'user', id: 'x', role: 'king' }] },
      '^/participants/0/role$',
    ],
  ])('%s at creation', async (_, body, pointer) => {
    expectRefusal(await rest.call('POST', '/conversations', { token, body }), 422, pointer)
  })

  it('read positions that are none', async () => {
    for (const seq of [-1, 1.5, '1', null, 1e300, { $inc: 1 }]) {
      const path = `/conversations/${conversationId}/read`
      expectRefusal(await rest.call('POST', path, { token, body: { seq } }), 422, '^/seq$')
    }
  })
})

describe('paths', () => {
  const ids = [
    'abc',
    'g'.repeat(24),
    'f'.repeat(23),
    'f'.repeat(25),
    '%00',
    '%24ne',
    '..%2f..',
    "'%20or%201=1",
    '🙈',
  ]

  it('with a malformed id lead nowhere', async () => {
    for (const id of ids) {
      for (const [method, path] of [
        ['GET', `/conversations/${id}`],
        ['DELETE', `/conversations/${id}`],
        ['POST', `/conversations/${id}/close`],
        ['GET', `/conversations/${id}/changes`],
        ['GET', `/messages/conversation/${id}`],
        ['GET', `/messages/thread/${id}`],
        ['GET', `/messages/${id}`],
        ['DELETE', `/messages/${id}`],
      ] as const) {
        expect((await rest.call(method, path, { token })).code, `${method} ${path}`).toBe('not_found')
      }
    }
  })

  it('with another bad part say which', async () => {
    for (const [path, pointer] of [
      [`/messages/conversation/${conversationId}/role/root`, '^/role$'],
      ...['0', '101', '-1', '1.5', 'x', '1e2', '%00'].map((count) => [
        `/messages/conversation/${conversationId}/last/${count}`,
        '^/count$',
      ]),
    ] as [string, string][]) {
      expectRefusal(await rest.call('GET', path, { token }), 422, pointer)
    }
    const path = `/conversations/${conversationId}/participants/robot/x`
    expectRefusal(await rest.call('DELETE', path, { token }), 422, '^/type$')
  })
})

describe('queries refuse', () => {
  const lists = () => [
    '/conversations',
    '/conversations/my-conversations',
    '/conversations/agent/bot',
    `/conversations/${conversationId}/participants`,
    `/conversations/${conversationId}/audit`,
    `/messages/conversation/${conversationId}`,
    `/messages/conversation/${conversationId}/role/user`,
    `/messages/conversation/${conversationId}/attachments`,
    `/messages/thread/${messageId}`,
  ]

  it.each(['0', '-1', '101', '1.5', '1e1', 'x', '', '%00', '9'.repeat(30)])(
    'a limit of %j',
    async (limit) => {
      for (const path of lists()) {
        expectRefusal(await rest.call('GET', `${path}?limit=${limit}`, { token }), 422, '^/limit$')
      }
    },
  )

  it('two limits, nested ones, and unknown fields', async () => {
    for (const path of lists()) {
      expectRefusal(await rest.call('GET', `${path}?limit=1&limit=2`, { token }), 422, '^/limit$')
      expectRefusal(await rest.call('GET', `${path}?limit[$gt]=1`, { token }), 422)
      expectRefusal(await rest.call('GET', `${path}?__proto__=1`, { token }), 422)
      expectRefusal(await rest.call('GET', `${path}?colour=red`, { token }), 422, '^/colour$')
    }
  })

  it.each([
    'x',
    '%00',
    'e30',
    'W10',
    'bnVsbA',
    'AAAAAAAAAAAAAAAAAAAAAAAA',
    Buffer.from('{"seq":{"$gt":0}}').toString('base64url'),
    'x'.repeat(512),
    '',
    'x'.repeat(4_000),
  ])('the cursor %j', async (cursor) => {
    for (const path of lists()) {
      const answer = await rest.call('GET', `${path}?cursor=${cursor}`, { token })
      expect(answer.code, `${path} ${answer.text}`).toBe('invalid_cursor')
    }
  })

  it('a cursor of another list', async () => {
    type Page = { page: { nextCursor: string | null; prevCursor: string | null } }
    const cursors = new Map<string, string>()
    for (const path of lists()) {
      const { page } = await rest.must<Page>('GET', `${path}?limit=1`, { token })
      const cursor = page.nextCursor ?? page.prevCursor
      if (cursor) cursors.set(path, cursor)
    }
    expect(cursors.size).toBeGreaterThan(4)
    for (const [from, cursor] of cursors) {
      for (const path of [...lists(), `/messages/conversation/${otherConversationId}`]) {
        if (path === from) continue
        const answer = await rest.call('GET', `${path}?cursor=${encodeURIComponent(cursor)}`, { token })
        expect(answer.code, `${from} → ${path}`).toBe('invalid_cursor')
      }
    }
  })

  it('positions that are none, and more than one', async () => {
    const path = `/messages/conversation/${conversationId}`
    for (const name of ['before', 'after', 'around']) {
      for (const value of ['-1', '1.5', 'x', '', '1e3', '9'.repeat(20)]) {
        expectRefusal(await rest.call('GET', `${path}?${name}=${value}`, { token }), 422, `^/${name}$`)
      }
    }
    expectRefusal(await rest.call('GET', `${path}?before=3&after=1`, { token }), 422)
    const highest = await rest.call('GET', `${path}?before=${Number.MAX_SAFE_INTEGER}`, { token })
    expect(highest.status, 'the maximum that the document names').toBe(200)
    expectRefusal(await rest.call('GET', `${path}?before=9007199254740992`, { token }), 422, '^/before$')
  })

  it('filters, searches and budgets that are none', async () => {
    for (const [query, pointer] of [
      ['/conversations?status=open', '^/status$'],
      ['/conversations?status[$ne]=closed', '.'],
      [`/conversations?tag=${'x'.repeat(65)}`, '^/tag$'],
      ['/conversations?agentId=%00', '^/agentId$'],
      [`/messages/conversation/${conversationId}/search`, '^/q$'],
      [`/messages/conversation/${conversationId}/search?q=`, '^/q$'],
      [`/messages/conversation/${conversationId}/search?q=${'x'.repeat(129)}`, '^/q$'],
      [`/messages/conversation/${conversationId}/search?q=%00`, '^/q$'],
      [`/conversations/${conversationId}/context?maxTokens=0`, '^/maxTokens$'],
      [`/conversations/${conversationId}/context?recent=-1`, '^/recent$'],
      [`/conversations/${conversationId}/changes?after=-1`, '^/after$'],
    ] as const) {
      expectRefusal(await rest.call('GET', query, { token }), 422, pointer)
    }
    const summary = `/conversations/${conversationId}/summary?wait=maybe`
    expectRefusal(await rest.call('POST', summary, { token }), 422, '^/wait$')
  })
})

describe('headers', () => {
  it('with tricks in them are refused or left alone', async () => {
    for (const authorization of [
      'Basic YTpi',
      'Bearer',
      'Bearer  ',
      'Bearer a b',
      'bearer null',
      token,
      '{"$ne":1}',
    ]) {
      expect((await rest.call('GET', '/me', { headers: { authorization } })).code).toBe('unauthenticated')
    }
    const override = await rest.call('POST', `/conversations/${conversationId}/read`, {
      token,
      body: { seq: 1 },
      headers: { 'x-http-method-override': 'DELETE', 'x-original-url': '/auth/revoke', 'x-user': 'root' },
    })
    expect(override.status).toBe(200)
    const huge = await fetch(`${stack.apiUrl}/me`, { headers: { 'x-huge': 'x'.repeat(60_000) } })
    expect([400, 431]).toContain(huge.status)
  })
})

it('and after all of it, everything stored is as it was', async () => {
  expect(await stored()).toEqual(before)
  expect(Object.hasOwn(Object.prototype, 'admin')).toBe(false)
  expect(stack.log('api-0').join('\n')).not.toMatch(/uncaught|request failed/)
})
