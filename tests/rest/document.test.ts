import { readdir, readFile } from 'node:fs/promises'
import { type Stack, startStack } from '@parley/devstack'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { createRest, type Media, type Rest } from '../support/rest.ts'

let stack: Stack
let rest: Rest
beforeAll(async () => {
  stack = await startStack({ gateways: 0, workers: 0, mongodbUri: inject('mongodbUri') })
  rest = await createRest(stack.apiUrl)
})
afterAll(() => stack?.close())

/** The calls of the contract; the document may not have fewer, nor others. */
const CALLS = `
  POST /conversations
  GET /conversations
  GET /conversations/my-conversations
  GET /conversations/agent/{agentId}
  POST /conversations/agent/{agentId}/auto
  GET /conversations/{id}
  PUT /conversations/{id}
  DELETE /conversations/{id}
  GET /conversations/{id}/participants
  POST /conversations/{id}/participants
  DELETE /conversations/{id}/participants/{type}/{participantId}
  POST /conversations/{id}/archive
  POST /conversations/{id}/close
  POST /conversations/{id}/reopen
  POST /conversations/{id}/summary
  GET /conversations/{id}/context
  POST /conversations/{id}/read
  GET /conversations/{id}/changes
  GET /conversations/{id}/audit
  POST /messages
  GET /messages/conversation/{id}
  GET /messages/conversation/{id}/role/{role}
  GET /messages/conversation/{id}/attachments
  GET /messages/conversation/{id}/search
  GET /messages/conversation/{id}/last/{count}
  GET /messages/conversation/{id}/statistics
  GET /messages/thread/{messageId}
  GET /messages/{id}
  DELETE /messages/{id}
  POST /auth/dev-token
  POST /auth/revoke
  GET /me
  GET /health/live
  GET /health/ready
  GET /metrics
  GET /openapi.json`
  .trim()
  .split('\n')
  .map((line) => line.trim())

describe('the OpenAPI document', () => {
  it('is OpenAPI 3.1 and has every call of the contract', () => {
    expect(rest.document.openapi).toMatch(/^3\.1\./)
    expect(rest.routes.map(({ method, path }) => `${method} ${path}`).sort()).toEqual([...CALLS].sort())
    const ids = rest.routes.map(({ operation }) => operation.operationId)
    expect(new Set(ids).size).toBe(ids.length)
  })

  it('has every call that the guides name, but for those of gateways', async () => {
    const docs = new URL('../../docs/', import.meta.url)
    const guides = (await readdir(docs))
      .filter((name) => name.endsWith('.md'))
      .map((name) => new URL(name, docs))
    const texts = await Promise.all(
      [new URL('../../README.md', import.meta.url), ...guides].map((file) => readFile(file, 'utf8')),
    )
    const named = texts.flatMap((text) => text.match(/(?<=`)(GET|POST|PUT|DELETE) \/[^`?\s]*/g) ?? [])
    expect(named.length).toBeGreaterThan(5)
    const ofGateways = /^GET \/(presence\/|asyncapi\.json)/
    const calls = CALLS.map((call) => call.replaceAll(/\{\w+\}/g, ':'))
    for (const call of named.filter((name) => !ofGateways.test(name)))
      expect(calls).toContain(call.replaceAll(/:\w+/g, ':'))
  })

  it('has an example for every body, and each fits its schema', () => {
    const bodies: [string, Media][] = rest.routes.flatMap(({ method, path, operation }) => [
      ...Object.values(operation.requestBody?.content ?? {}).map((media): [string, Media] => [
        `${method} ${path} request`,
        media,
      ]),
      ...Object.entries(operation.responses).flatMap(([status, { content }]) =>
        Object.values(content ?? {}).map((media): [string, Media] => [`${method} ${path} ${status}`, media]),
      ),
    ])
    expect(bodies.length).toBeGreaterThan(150)
    for (const [name, { schema, example, examples }] of bodies) {
      if (!schema) continue
      const shown = [
        ...(example === undefined ? [] : [example]),
        ...Object.values(examples ?? {}).map((e) => e.value),
      ]
      expect(shown.length, `${name} has no example`).toBeGreaterThan(0)
      const validate = rest.validator(schema)
      for (const value of shown) {
        expect(validate(value), `${name}: ${JSON.stringify(validate.errors)}`).toBe(true)
      }
    }
  })

  it('shows every problem code somewhere', () => {
    const shown = new Set(
      rest.routes.flatMap(({ operation }) =>
        Object.values(operation.responses).flatMap(({ content }) =>
          Object.keys(content?.['application/problem+json']?.examples ?? {}),
        ),
      ),
    )
    const { enum: codes } = (
      rest.document.components.schemas.Problem as { properties: { code: { enum: string[] } } }
    ).properties.code
    // A wrong method is no call, and origins are judged at the sockets' handshake.
    expect(codes.filter((code) => !shown.has(code))).toEqual(['origin_not_allowed', 'method_not_allowed'])
  })

  it('names a conflict only where one can come', () => {
    const conflicting = rest.routes.filter(({ operation }) => operation.responses['409'] !== undefined)
    expect(conflicting.map(({ operation }) => operation.operationId).sort()).toEqual([
      'addParticipant',
      'createConversation',
      'createMessage',
      'removeParticipant',
    ])
  })
})

describe('the reference', () => {
  it('is a page that loads nothing from elsewhere', async () => {
    const page = await fetch(`${stack.apiUrl}/docs`)
    expect(page.status).toBe(200)
    const html = await page.text()
    const sources = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, source]) => source ?? '')
    expect(sources.length).toBeGreaterThan(0)
    for (const source of sources) {
      expect(source, 'loads from elsewhere').not.toMatch(/^(https?:)?\/\//)
      const asset = await fetch(new URL(source, page.url))
      expect(asset.status).toBe(200)
      await asset.arrayBuffer()
    }
    expect(page.headers.get('content-security-policy')).toContain("default-src 'self'")
  })
})

it('leads from a problem to what it means', async () => {
  const { body } = await rest.call<{ type: string; code: string }>('GET', '/nowhere')
  const page = await fetch(new URL(body.type, stack.apiUrl))
  expect(page.status).toBe(200)
  expect(await page.text()).toContain(`id="${body.code}"`)
})

describe('paths and methods', () => {
  it('that do not exist, or not so, say so', async () => {
    expect((await rest.call('GET', '/nowhere')).code).toBe('not_found')
    const patched = await rest.call('PATCH', '/messages', { body: {} })
    expect(patched.code).toBe('method_not_allowed')
    expect(patched.headers.get('allow')).toBe('POST')
    expect((await rest.call('DELETE', '/conversations')).headers.get('allow')).toBe('GET, HEAD, POST')
  })

  it('are open to browsers of allowed origins only', async () => {
    const ask = (origin: string) =>
      fetch(`${stack.apiUrl}/me`, {
        method: 'OPTIONS',
        headers: { origin, 'access-control-request-method': 'GET' },
      })
    const local = await ask('http://localhost:5173')
    expect(local.status).toBe(204)
    expect(local.headers.get('access-control-allow-origin')).toBe('http://localhost:5173')
    const exposed = local.headers.get('access-control-expose-headers')?.toLowerCase()
    for (const name of ['ratelimit-limit', 'retry-after', 'x-request-id']) expect(exposed).toContain(name)
    expect((await ask('https://evil.test')).headers.get('access-control-allow-origin')).toBeNull()
  })
})
