import { once } from 'node:events'
import { Agent, get } from 'node:http'
import { type AddressInfo, connect, createServer } from 'node:net'
import { text } from 'node:stream/consumers'
import { LIMITS, Problem, problem } from '@parley/contract'
import type { InjectOptions } from 'fastify'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { z } from 'zod'
import { health } from './health.ts'
import { createHttpServer, type HttpServer } from './http-server.ts'
import { createLogger } from './logging.ts'
import { createRegistry, metrics } from './metrics.ts'
import { problemErrors } from './problem-errors.ts'

const lines: string[] = []
const logger = createLogger(
  { name: 'test', level: 'info' },
  { write: (line: string) => void lines.push(line) },
)
let app: HttpServer
let ready = true
const open = { config: { permission: 'open' } }

beforeAll(async () => {
  app = createHttpServer({ logger })
  problemErrors(app)
  health(app, { isReady: () => ready, degraded: () => ['redis'] })
  await metrics(app, { registry: createRegistry('test') })
  const body = z.strictObject({ text: z.string().min(2), list: z.array(z.int()).optional() })
  app.post('/things', { ...open, schema: { body } }, async (request) => request.body)
  app.put('/things/:id', open, async () => ({}))
  app.get('/things/new', open, async () => ({}))
  app.get(
    '/things/:id/:kind',
    {
      ...open,
      schema: { params: z.strictObject({ id: z.string().length(4), kind: z.enum(['a', 'b']) }) },
    },
    async () => ({}),
  )
  app.get('/crash', open, async () => {
    throw new Error('a secret in an error')
  })
  app.get('/election', open, async () => {
    throw Object.assign(new Error('not primary'), { name: 'MongoServerError', code: 10107 })
  })
  app.get('/cursor', open, async () => {
    throw Object.assign(new Error('cursor id 1 not found'), { name: 'MongoServerError', code: 43 })
  })
  app.get('/bulk', open, async () => {
    const closed = Object.assign(new Error('connection 6 closed'), { name: 'MongoNetworkError' })
    throw Object.assign(new Error(closed.message), { name: 'MongoBulkWriteError', errorResponse: closed })
  })
  app.get('/reset', open, async () => {
    const neighbour = createServer((socket) => socket.resetAndDestroy()).listen(0, '127.0.0.1')
    await once(neighbour, 'listening')
    const { port } = neighbour.address() as AddressInfo
    try {
      await once(connect(port, '127.0.0.1').resume(), 'end')
    } finally {
      neighbour.close()
    }
  })
  app.get('/refused', open, async () => {
    throw problem('rate_limited', { retryAfter: 2.2 })
  })
  await app.listen({ host: '127.0.0.1', port: 0 })
})
afterAll(() => app.close())

function port(server = app): number {
  const [address] = server.addresses()
  if (!address || typeof address === 'string') throw new Error('not listening')
  return address.port
}

async function problemOf(request: string | InjectOptions) {
  const answer = await app.inject(request)
  expect(answer.headers['content-type']).toContain('application/problem+json')
  const body = Problem.parse(answer.json())
  expect(body.status).toBe(answer.statusCode)
  expect(body.requestId).toBe(answer.headers['x-request-id'])
  return { ...body, headers: answer.headers }
}
const json = { 'content-type': 'application/json' }
const post = (payload: string, headers: Record<string, string> = json) =>
  problemOf({ method: 'POST', url: '/things', headers, payload })

describe('errors', () => {
  it('of a body: what, and where', async () => {
    expect(await post('{"text":1')).toMatchObject({ code: 'bad_request', status: 400 })
    expect(await post('{"text":"x","list":[1,"2"],"more/~":1}')).toMatchObject({
      code: 'validation_failed',
      errors: [
        { pointer: '/text' },
        { pointer: '/list/1' },
        { pointer: '/more~1~0', detail: 'unknown field' },
      ],
    })
    expect(await post('')).toMatchObject({ code: 'validation_failed' })
    expect(await post('[]')).toMatchObject({ code: 'validation_failed' })
    expect(await post('x'.repeat(LIMITS.requestBytes + 1))).toMatchObject({
      code: 'payload_too_large',
      status: 413,
    })
    expect(await post('hello', { 'content-type': 'text/plain' })).toMatchObject({ status: 415 })
  })

  it('of a body that is no UTF-8 are told, and nothing is put in its place', async () => {
    const send = (payload: Buffer, headers: Record<string, string> = {}) =>
      problemOf({
        method: 'POST',
        url: '/things',
        headers: { 'content-type': 'application/json', ...headers },
        payload,
      })
    const latin = Buffer.from('{"text":"café"}', 'latin1')
    const unicode = Buffer.from('{"text":"café"}')
    expect(await send(latin)).toMatchObject({ status: 400, code: 'bad_request' })
    for (const headers of [
      { 'content-type': 'application/json; charset=iso-8859-1' },
      { 'content-type': 'application/json;charset="UTF-16"' },
      { 'content-encoding': 'br' },
    ]) {
      expect(await send(unicode, headers)).toMatchObject({ status: 415, code: 'unsupported_media_type' })
    }
    const headers = { 'content-type': 'application/json; charset="utf-8"', 'content-encoding': 'identity' }
    const stored = await app.inject({ method: 'POST', url: '/things', headers, payload: unicode })
    expect(stored.json()).toEqual({ text: 'café' })
  })

  it('of prototype keys name them, and no prototype is touched', async () => {
    const answer = await post('{"text":"xx","__proto__":{"polluted":true}}')
    expect(answer).toMatchObject({ code: 'validation_failed', errors: [{ pointer: '/__proto__' }] })
    expect(Object.hasOwn(Object.prototype, 'polluted')).toBe(false)
  })

  it('of a path: an id that cannot be is an id that is not there', async () => {
    expect(await problemOf('/things/toolong/a')).toMatchObject({ code: 'not_found', detail: 'Not found' })
    expect(await problemOf('/things/good/c')).toMatchObject({
      code: 'validation_failed',
      errors: [{ pointer: '/kind' }],
    })
    expect(await problemOf('/nowhere')).toMatchObject({ code: 'not_found' })
    expect(await problemOf('/%E0%A4%A')).toMatchObject({ code: 'bad_request' })
    expect(await problemOf(`/things/${'x'.repeat(3_000)}/a`)).toMatchObject({ code: 'not_found' })
  })

  it('of a method: which ones there are', async () => {
    const answer = await problemOf({ method: 'DELETE', url: '/things/good' })
    expect(answer).toMatchObject({ code: 'method_not_allowed', status: 405 })
    expect(answer.headers.allow).toBe('PUT')
    // The path is one of ids, too, but it is named as it stands.
    const named = await problemOf({ method: 'DELETE', url: '/things/new' })
    expect(named).toMatchObject({ code: 'method_not_allowed', headers: { allow: 'GET, HEAD' } })
  })

  it('that are unexpected reveal nothing, and are logged', async () => {
    const answer = await problemOf('/crash')
    expect(answer).toMatchObject({ code: 'internal', status: 500, detail: 'Internal error' })
    expect(
      lines.some((line) => line.includes('a secret in an error') && line.includes(answer.requestId)),
    ).toBe(true)
  })

  it('of a store that is away can be tried again', async () => {
    const answer = await problemOf('/election')
    expect(answer).toMatchObject({ code: 'unavailable', status: 503, retryable: true })
    expect(answer.headers['retry-after']).toBe('1')
    for (const url of ['/reset', '/bulk', '/cursor']) {
      expect(await problemOf(url)).toMatchObject({ code: 'unavailable', status: 503 })
    }
    expect((await problemOf('/refused')).headers['retry-after']).toBe('3')
  })

  it('of a body that is too large reaches a client that is still sending it', async () => {
    const socket = connect(port(), '127.0.0.1')
    let heard = ''
    socket.on('data', (chunk) => {
      heard += chunk
    })
    const half = 'x'.repeat(LIMITS.requestBytes * 0.6)
    socket.write('POST /things HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n')
    socket.write(`Content-Length: ${2 * half.length}\r\n\r\n${half}`)
    await vi.waitFor(() => expect(heard).toMatch(/^HTTP\/1.1 413 .*payload_too_large/s))
    heard = ''
    socket.write(`${half}GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`)
    await once(socket, 'close')
    expect(heard).toMatch(/^HTTP\/1.1 200 /)
  })

  it('of a body that comes too slowly can be tried again', async () => {
    const impatient = createHttpServer({ logger })
    problemErrors(impatient)
    impatient.post('/things', open, async () => ({}))
    Object.assign(impatient.server, {
      headersTimeout: 50,
      requestTimeout: 50,
      connectionsCheckingInterval: 10,
    })
    await impatient.listen({ host: '127.0.0.1', port: 0 })
    const socket = connect(port(impatient), '127.0.0.1')
    socket.write(
      'POST /things HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 20\r\n\r\n{',
    )
    const [head, body] = (await text(socket)).split('\r\n\r\n')
    expect(head).toMatch(/^HTTP\/1.1 503 Service Unavailable\r\n.*Retry-After: 1\r\n/s)
    const detail = 'The request took too long to arrive'
    expect(Problem.parse(JSON.parse(body ?? ''))).toMatchObject({
      code: 'unavailable',
      retryable: true,
      detail,
    })
    await impatient.close()
  })

  it('answers what is not HTTP at all', async () => {
    for (const [sent, detail] of [
      ['NONSENSE\r\n\r\n', 'The request is not HTTP'],
      [`GET /${'x'.repeat(20_000)} HTTP/1.1\r\n`, 'The path and the headers are over 16384 bytes'],
    ]) {
      const socket = connect(port(), '127.0.0.1')
      socket.write(sent ?? '')
      const [head = '', body = ''] = (await text(socket)).split('\r\n\r\n')
      const { requestId, ...rest } = Problem.parse(JSON.parse(body))
      expect(rest).toMatchObject({ code: 'bad_request', status: 400, detail })
      expect(head).toMatch(/^HTTP\/1.1 400 /)
      expect(head).toContain(`X-Request-Id: ${requestId}`)
      expect(requestId).toMatch(/^[0-9a-f-]{36}$/)
    }
  })
})

describe('every answer', () => {
  it('carries a request id: the caller’s if it is valid', async () => {
    const id = async (given: string) =>
      (await app.inject({ url: '/health/live', headers: { 'x-request-id': given } })).headers['x-request-id']
    expect(await id('abc-123')).toBe('abc-123')
    for (const insane of ['a b', 'x'.repeat(129), '{}', ''])
      expect(await id(insane)).toMatch(/^[0-9a-f-]{36}$/)
  })
})

describe('health and metrics', () => {
  it('says live, ready with what is away, or not ready', async () => {
    expect((await app.inject('/health/live')).json()).toEqual({ status: 'live' })
    expect((await app.inject('/health/ready')).json()).toEqual({ status: 'ready', degraded: ['redis'] })
    ready = false
    expect(await problemOf('/health/ready')).toMatchObject({ code: 'unavailable', status: 503 })
    ready = true
  })

  it('counts requests by route, not by path', async () => {
    await app.inject('/things/good/a')
    const text = (await app.inject('/metrics')).body
    const line = text.split('\n').find((l) => /seconds_count.*\/things\/:id\/:kind.*200/.test(l))
    expect(line).toMatch(/\{service="test",method="GET",route="[^"]+",status="200"\} 1$/)
    expect(text).not.toContain('/things/good')
    expect(text).toContain('process_cpu_seconds_total')
  })
})

describe('the end', () => {
  it('answers what was under way, and no connection holds it up that is kept alive', async () => {
    const ending = createHttpServer({ logger })
    const [asked, goOn] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    ending.get('/slow', open, async () => {
      asked.resolve()
      await goOn.promise
      return {}
    })
    await ending.listen({ host: '127.0.0.1', port: 0 })
    const agent = new Agent({ keepAlive: true })
    const request = get(`${ending.listeningOrigin}/slow`, { agent })
    await asked.promise
    const ended = ending.close()
    await vi.waitFor(() => expect(ending.server.listening).toBe(false))
    goOn.resolve()
    const [response] = await once(request, 'response')
    response.resume()
    await ended
    expect([response.statusCode, response.headers.connection]).toEqual([200, 'close'])
    agent.destroy()
  })
})

describe('the log', () => {
  it('blanks tokens', () => {
    logger.info({ token: 'tell-no-one', headers: { authorization: 'Bearer tell-no-one' } }, 'looked at')
    expect(lines.at(-1)).toContain('looked at')
    expect(lines.join('')).not.toContain('tell-no-one')
  })

  it('keeps the data that hangs on an error to itself', () => {
    const error = Object.assign(new Error('failed'), { result: { content: 'message text' }, code: 7 })
    logger.error({ err: error }, 'went wrong')
    expect(lines.at(-1)).toMatch(/failed.*"code":7/)
    expect(lines.at(-1)).not.toContain('message text')
  })
})
