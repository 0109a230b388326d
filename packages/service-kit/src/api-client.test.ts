import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createServiceVerifier } from '@parley/auth'
import { problem } from '@parley/contract'
import { expect, it, onTestFinished, vi } from 'vitest'
import { createApiClient } from './api-client.ts'

const secret = 'a service secret of more than thirty-two bytes'

interface Seen {
  url: string | undefined
  headers: IncomingMessage['headers']
}

async function fakeApi(answer: (response: ServerResponse, request: IncomingMessage) => void) {
  const seen: Seen[] = []
  const server: Server = createServer((request, response) => {
    request.resume().on('end', () => {
      seen.push({ url: request.url, headers: request.headers })
      answer(response, request)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const stop = () => {
    server.closeAllConnections()
    server.close()
  }
  onTestFinished(stop)
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen, stop }
}

function clientOf(...urls: string[]) {
  const client = createApiClient({ urls, serviceSecret: secret, userAgent: 'test', probeMs: 20 })
  onTestFinished(() => client.close())
  return client
}
const NONE = { ids: [] }
const ok = (response: ServerResponse) => response.end('{"fine":true}')
const refuse = (code: 'unavailable' | 'not_found' | 'rate_limited') => (response: ServerResponse) => {
  const error = problem(code, { detail: 'because' })
  response.writeHead(error.status, { 'retry-after': '7' }).end(JSON.stringify(error.toProblem('id', '/')))
}

it('proves the service, and passes a caller’s own token on', async () => {
  const api = await fakeApi(ok)
  const client = clientOf(api.url)
  expect(await client.internal('/internal/heads', NONE)).toEqual({ fine: true })
  const token = api.seen[0]?.headers.authorization?.slice('Bearer '.length) ?? ''
  expect(createServiceVerifier(secret).verify(token)).toBe('test')
  const answer = await client.asCaller('POST', '/messages', 'their-token', {}, { requestId: 'r-1' })
  expect(answer).toEqual({ status: 200, body: { fine: true } })
  expect(api.seen[1]?.headers).toMatchObject({ authorization: 'Bearer their-token', 'x-request-id': 'r-1' })
})

it('proves the service anew before its token ends', async () => {
  vi.useFakeTimers({ toFake: ['Date'] })
  onTestFinished(() => void vi.useRealTimers())
  const api = await fakeApi(ok)
  const client = clientOf(api.url)
  for (const afterMs of [0, 110_000, 110_000]) {
    vi.setSystemTime(Date.now() + afterMs)
    await client.internal('/internal/heads', NONE)
    const token = api.seen.at(-1)?.headers.authorization?.slice('Bearer '.length) ?? ''
    expect(createServiceVerifier(secret).verify(token)).toBe('test')
  }
})

it('passes on the problem that the api answers with', async () => {
  const api = await fakeApi(refuse('not_found'))
  const failing = clientOf(api.url).internal('/internal/heads', NONE)
  await expect(failing).rejects.toMatchObject({ code: 'not_found', message: 'because' })
  expect(api.seen).toHaveLength(1)
  const limited = await fakeApi(refuse('rate_limited'))
  await expect(clientOf(limited.url).asCaller('GET', '/', 't')).rejects.toMatchObject({
    code: 'rate_limited',
    retryAfter: 7,
  })
})

it('asks a lone process that has too much to do once, and says when to come back', async () => {
  const api = await fakeApi(refuse('unavailable'))
  const failing = clientOf(api.url).internal('/internal/heads', NONE)
  await expect(failing).rejects.toMatchObject({ code: 'unavailable', retryAfter: 7 })
  expect(api.seen.filter(({ url }) => url === '/internal/heads')).toHaveLength(1)
})

it('sends a conversation’s calls to one process, and the keys of a lost one elsewhere', async () => {
  const apis = await Promise.all([fakeApi(ok), fakeApi(ok), fakeApi(ok)])
  const client = clientOf(...apis.map(({ url }) => url))
  const keys = Array.from({ length: 60 }, (_, i) => `conversation ${i}`)
  const place = async (key: string) => {
    const before = apis.map(({ seen }) => seen.length)
    await client.internal('/internal/heads', NONE, { key })
    return apis.findIndex(({ seen }, i) => seen.length > (before[i] ?? 0))
  }
  const places: number[] = []
  for (const key of keys) places.push(await place(key))
  for (const [i, key] of keys.entries()) expect(await place(key)).toBe(places[i])
  expect(new Set(places).size).toBe(3)
  apis[0]?.stop()
  for (const [i, key] of keys.entries()) {
    const now = await place(key)
    if (places[i] === 0) expect(now).not.toBe(0)
    else expect(now).toBe(places[i])
  }
})

it('turns to the next process after a 503 where repeating is harmless, and only there', async () => {
  const full = await fakeApi(refuse('unavailable'))
  const idle = await fakeApi(ok)
  const client = clientOf(full.url, idle.url)
  for (let i = 0; i < 4; i++) expect(await client.internal('/internal/heads', NONE)).toEqual({ fine: true })
  const lone = clientOf(full.url)
  await expect(lone.asCaller('POST', '/messages', 't', { content: 'x' })).rejects.toMatchObject({
    code: 'unavailable',
  })
  // Not counting the probes that go on meanwhile.
  expect(full.seen.filter(({ url }) => url === '/messages')).toHaveLength(1)
})

it('does not send a message twice when the connection breaks under it, unless it has a key', async () => {
  let broken = 0
  const breaking = await fakeApi((response, { method }) => {
    // Not the probes that go on meanwhile.
    if (method === 'POST') broken++
    response.destroy()
  })
  const send = (body: object) => clientOf(breaking.url).asCaller('POST', '/messages', 't', body)
  await expect(send({ content: 'x' })).rejects.toMatchObject({ code: 'unavailable' })
  expect(broken).toBe(1)
  await expect(send({ content: 'x', clientMessageId: 'k' })).rejects.toMatchObject({ code: 'unavailable' })
  expect(broken).toBe(3)
})

it('says unavailable if nobody answers', async () => {
  const client = clientOf('http://127.0.0.1:1', 'http://127.0.0.1:2')
  await expect(client.internal('/internal/heads', NONE)).rejects.toMatchObject({ code: 'unavailable' })
  expect(client.reachable()).toBe(false)
})

it('asks a process that hangs once, and leaves it alone as long as it does', async () => {
  let held: ServerResponse[] | null = []
  const hanging = await fakeApi((response) => void (held ? held.push(response) : ok(response)))
  const working = await fakeApi(ok)
  const client = clientOf(hanging.url, working.url)
  const asked = () => hanging.seen.filter(({ url }) => url === '/internal/heads').length
  const looks = () => hanging.seen.filter(({ url }) => url === '/health/ready').length
  const ask = (n: number) => client.internal('/internal/heads', NONE, { key: `room ${n}`, timeoutMs: 1_000 })
  for (let n = 0; n < 20; n++) expect(await ask(n)).toEqual({ fine: true })
  expect(asked()).toBe(1)
  await expect.poll(looks).toBe(1)
  expect(client.reachable()).toBe(true)
  const waiting = held
  held = null
  for (const response of waiting) ok(response)
  await expect
    .poll(async () => {
      for (let n = 0; n < 20; n++) await ask(n)
      return asked()
    })
    .toBeGreaterThan(1)
})

it('leaves a process alone ever longer that answers probes but fails calls', async () => {
  const times: number[] = []
  const broken = await fakeApi((response, { url }) => {
    if (url === '/health/ready') return ok(response)
    times.push(performance.now())
    refuse('unavailable')(response)
  })
  const client = clientOf(broken.url, (await fakeApi(ok)).url)
  while (times.length < 4) await client.internal('/internal/heads', NONE)
  expect(Number(times[3]) - Number(times[0])).toBeGreaterThan(20 + 40 + 80 - 5)
})

it('knows whether any process can be reached long after a call too, and finds out by itself which are back', async () => {
  const lone = await fakeApi((response) => void response.destroy())
  const client = clientOf(lone.url)
  expect(client.reachable()).toBe(true)
  await expect(client.internal('/internal/heads', NONE)).rejects.toMatchObject({ code: 'unavailable' })
  await expect.poll(() => lone.seen.at(-1)?.url).toBe('/health/ready')
  expect(client.reachable()).toBe(false)
  lone.stop()
  const port = Number(new URL(lone.url).port)
  const again = createServer((_request, response) => ok(response)).listen(port, '127.0.0.1')
  onTestFinished(() => void again.close())
  await expect.poll(client.reachable).toBe(true)
})

it('counts a refusal as a sign of life', async () => {
  let refusal: 'not_found' | 'unavailable' = 'unavailable'
  const lone = await fakeApi((response) => refuse(refusal)(response))
  const client = clientOf(lone.url)
  const ask = () => client.internal('/internal/heads', NONE).catch(({ code }: { code: string }) => code)
  expect([await ask(), client.reachable()]).toEqual(['unavailable', false])
  refusal = 'not_found'
  expect([await ask(), client.reachable()]).toEqual(['not_found', true])
})
