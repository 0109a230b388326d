import { randomUUID } from 'node:crypto'
import { type Stack, startStack } from '@parley/devstack'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { createRest, type Rest } from '../support/rest.ts'

interface Message {
  id: string
  seq: number
  role: string
  content: string
  attachments: string[]
  cost: number
  clientMessageId: string | null
  deletedAt: string | null
}
interface Page<T> {
  data: T[]
  page: { nextCursor: string | null; prevCursor: string | null; hasMore: boolean }
}
type Hit = Message & { score: number; highlights: { start: number; end: number }[] }

let stack: Stack
let rest: Rest
beforeAll(async () => {
  stack = await startStack({
    apis: 2,
    gateways: 0,
    workers: 0,
    mongodbUri: inject('mongodbUri'),
    env: {
      RATE_LIMIT_REST: '0',
      RATE_LIMIT_SEND: '0',
      MODEL_PRICES: JSON.stringify({ small: { input: 0.5, output: 1.5 } }),
    },
  })
  rest = await createRest(stack.apiUrl)
})
afterAll(() => stack?.close())

const org = `org-${randomUUID()}`
const token = (sub: string, more: object = {}) => stack.token({ sub, orgId: org, type: 'user', ...more })
const bot = () => stack.token({ sub: 'bot', orgId: org, type: 'agent' })

async function conversation(): Promise<string> {
  const body = { agentId: 'bot', participants: [{ type: 'user', id: 'bob' }] }
  return (await rest.must<{ id: string }>('POST', '/conversations', { token: token('ada'), body })).id
}
const post = (by: string, conversationId: string, body: object, headers = {}) =>
  rest.call<Message>('POST', '/messages', {
    token: by,
    body: { conversationId, role: 'user', content: '', ...body },
    headers,
  })
const say = async (by: string, id: string, content: string, more: object = {}): Promise<Message> =>
  (await post(by, id, { content, ...more })).body
const read = <T>(path: string, by = token('ada')) => rest.must<T>('GET', path, { token: by })
const texts = ({ data }: { data: Message[] }) => data.map(({ content }) => content)

describe('idempotency', () => {
  it('knows a key from the body and from the header as one, for ever and on every api', async () => {
    const id = await conversation()
    const ada = token('ada')
    const first = await post(ada, id, { content: 'once', clientMessageId: 'k1' })
    const again = await post(ada, id, { content: 'once' }, { 'idempotency-key': 'k1' })
    const other = await createRest(stack.apiUrls[1] ?? '')
    const elsewhere = await other.call<Message>('POST', '/messages', {
      token: ada,
      body: { conversationId: id, role: 'user', content: 'once', clientMessageId: 'k1' },
    })
    expect([first.status, again.status, elsewhere.status]).toEqual([201, 200, 200])
    expect([again.body.id, elsewhere.body.id]).toEqual([first.body.id, first.body.id])
    expect((await post(ada, id, { content: 'else', clientMessageId: 'k1' })).code).toBe(
      'idempotency_mismatch',
    )
    expect(
      (await post(ada, id, { content: 'x', clientMessageId: 'a' }, { 'idempotency-key': 'b' })).code,
    ).toBe('validation_failed')
    expect(texts(await read(`/messages/conversation/${id}`))).toEqual(['once'])
  })
})

describe('who writes what', () => {
  it('refuses roles and fields that are not one’s own, and stores nothing', async () => {
    const id = await conversation()
    const usage = { inputTokens: 1, outputTokens: 1 }
    for (const [by, body] of [
      [token('ada'), { role: 'assistant', content: 'x' }],
      [token('ada'), { role: 'system', content: 'x' }],
      [token('ada'), { role: 'user', content: 'x', usage }],
      [token('ada'), { role: 'user', content: 'x', model: 'small' }],
      [bot(), { role: 'user', content: 'x' }],
    ] as const) {
      expect(await post(by, id, body)).toMatchObject({ status: 403, code: 'role_not_allowed' })
    }
    expect(await read(`/messages/conversation/${id}`)).toMatchObject({ data: [] })
  })

  it('takes https and document references for attachments, and nothing that would be fetched elsewhere', async () => {
    const id = await conversation()
    const good = ['https://example.com/a%20b.png?x=1#y', 'document:invoice-4711.pdf']
    const sent = await post(token('ada'), id, { attachments: good })
    expect(sent).toMatchObject({ status: 201, body: { attachments: good } })
    for (const bad of [
      'http://example.com/',
      'https://user:secret@example.com/',
      'https://',
      'ftp://example.com/',
      'javascript:alert(1)',
      'file:///etc/passwd',
      'data:text/html,x',
      'document:',
      'document:../x',
      ' https://example.com',
      'https:\\\\example.com',
      '',
    ]) {
      const refused = await post(token('ada'), id, { content: 'x', attachments: [bad] })
      expect([bad, refused.status, refused.code]).toEqual([bad, 422, 'invalid_attachment'])
    }
    expect(await post(token('ada'), id, { content: '' })).toMatchObject({ status: 422 })
  })

  it('charges by model, and sums in the conversation and the statistics', async () => {
    const id = await conversation()
    const answer = { role: 'assistant', content: 'x', usage: { inputTokens: 1_000, outputTokens: 2_000 } }
    expect((await post(bot(), id, { ...answer, model: 'small' })).body.cost).toBe(3.5)
    const other = await post(bot(), id, answer)
    expect(other.body.cost).toBe(0.006)
    await say(token('ada'), id, 'thanks', { attachments: ['document:a', 'document:b'] })
    await rest.must('DELETE', `/messages/${other.body.id}`, { token: token('ada') })
    expect(await read(`/conversations/${id}`)).toMatchObject({
      totalCost: 3.506,
      messageCount: 2,
      usage: { inputTokens: 2_000, outputTokens: 4_000, totalTokens: 6_000 },
    })
    expect(await read(`/messages/conversation/${id}/statistics`)).toMatchObject({
      total: 2,
      byRole: { user: 1, assistant: 1 },
      cost: 3.506,
      tokens: { input: 2_000, output: 4_000, total: 6_000 },
      withAttachments: 1,
      attachments: 2,
    })
  })
})

describe('a deleted message', () => {
  it('stays where order needs it, as a tombstone, and is gone where text is shown', async () => {
    const id = await conversation()
    const ada = token('ada')
    await say(ada, id, 'before')
    const secret = await say(ada, id, 'the password is swordfish', { attachments: ['document:x'] })
    await say(token('bob'), id, 'an answer', { parentId: secret.id })
    expect((await rest.call('DELETE', `/messages/${secret.id}`, { token: token('bob') })).status).toBe(403)
    for (let twice = 0; twice < 2; twice++) {
      expect((await rest.call('DELETE', `/messages/${secret.id}`, { token: ada })).status).toBe(204)
    }
    const page = await read<Page<Message>>(`/messages/conversation/${id}`)
    expect(texts(page)).toEqual(['before', '', 'an answer'])
    expect(page.data[1]).toMatchObject({ seq: 2, attachments: [], deletedAt: expect.any(String) })
    expect(await read(`/messages/${secret.id}`)).toMatchObject({ content: '' })
    expect(await read(`/messages/thread/${secret.id}`)).toMatchObject({
      parent: { content: '' },
      data: [{ content: 'an answer' }],
    })
    for (const path of ['role/user', 'attachments', 'last/10', 'search?q=swordfish']) {
      expect(texts(await read(`/messages/conversation/${id}/${path}`)).join()).not.toContain('swordfish')
      const ids = (await read<Page<Message>>(`/messages/conversation/${id}/${path}`)).data.map(
        (one) => one.id,
      )
      expect(ids).not.toContain(secret.id)
    }
    expect(await read(`/conversations/${id}/changes`)).toMatchObject({
      data: [{ kind: 'message.deleted', message: { id: secret.id, content: '' } }],
    })
  })
})

describe('search', () => {
  it('finds words in English, German, Vietnamese and Chinese, best first, and marks them', async () => {
    const id = await conversation()
    const ada = token('ada')
    const lines = {
      english: 'Your invoice was paid on Friday',
      german: 'Die Größe der Lieferung passt nicht',
      vietnamese: 'Đơn hàng của tôi bị trễ',
      chinese: '我的订单什么时候发货',
      aside:
        'Somebody mentioned an invoice in passing, among very many other things that have nothing to do with it at all, and went on talking',
    }
    for (const line of Object.values(lines)) await say(ada, id, line)
    const search = async (q: string): Promise<Hit[]> =>
      (await read<Page<Hit>>(`/messages/conversation/${id}/search?q=${encodeURIComponent(q)}`)).data
    const marked = (hit: Hit | undefined) =>
      hit?.highlights.map(({ start, end }) => hit.content.slice(start, end)) ?? []
    for (const [q, line, marks] of [
      ['friday', lines.english, ['Friday']],
      ['grosse lieferung', lines.german, ['Größe', 'Lieferung']],
      ['don hang', lines.vietnamese, ['Đơn', 'hàng']],
      ['发货', lines.chinese, ['发货']],
      ['liefer', lines.german, ['Lieferung']],
    ] as const) {
      const [best, ...others] = await search(q)
      expect([q, best?.content, marked(best), others.length]).toEqual([q, line, marks, 0])
    }
    expect((await search('invoice')).map(({ content }) => content)).toEqual([lines.english, lines.aside])
    expect(await search('nowhere')).toEqual([])
    expect((await rest.call('GET', `/messages/conversation/${id}/search?q=%3F`, { token: ada })).status).toBe(
      422,
    )
  })

  it('pages through what it found', async () => {
    const id = await conversation()
    for (let i = 0; i < 7; i++) await say(token('ada'), id, `parcel ${i}`)
    const found: string[] = []
    let cursor: string | null = null
    do {
      const more: string = cursor ? `&cursor=${cursor}` : ''
      const page: Page<Hit> = await read(`/messages/conversation/${id}/search?q=parcel&limit=3${more}`)
      found.push(...texts(page))
      cursor = page.page.nextCursor
    } while (cursor)
    expect(found.sort()).toEqual([0, 1, 2, 3, 4, 5, 6].map((i) => `parcel ${i}`))
  })
})

describe('lists', () => {
  it('by role, with attachments, and the last ones', async () => {
    const id = await conversation()
    await say(token('ada'), id, 'question')
    await say(bot(), id, 'answer', { role: 'assistant' })
    await say(token('bob'), id, 'picture', { attachments: ['https://example.com/p.png'] })
    expect(texts(await read(`/messages/conversation/${id}/role/assistant`))).toEqual(['answer'])
    expect(texts(await read(`/messages/conversation/${id}/role/user?limit=1`))).toEqual(['picture'])
    expect(texts(await read(`/messages/conversation/${id}/attachments`))).toEqual(['picture'])
    expect(texts(await read(`/messages/conversation/${id}/last/2`))).toEqual(['answer', 'picture'])
    for (const path of ['role/nobody', 'last/0', 'last/101', 'last/x']) {
      expect(
        (await rest.call('GET', `/messages/conversation/${id}/${path}`, { token: token('ada') })).status,
      ).toBe(422)
    }
  })

  it('show what was acknowledged at once, through every api', async () => {
    const id = await conversation()
    const other = await createRest(stack.apiUrls[1] ?? '')
    for (let i = 1; i <= 10; i++) {
      const { seq } = await say(token('ada'), id, `line ${i}`)
      const page = await other.must<Page<Message>>('GET', `/messages/conversation/${id}`, {
        token: token('bob'),
      })
      expect(page.data.at(-1)?.seq).toBe(seq)
      expect(await other.must('GET', `/conversations/${id}`, { token: token('bob') })).toMatchObject({
        lastSeq: i,
        messageCount: i,
        me: { unread: i },
      })
    }
  })
})
