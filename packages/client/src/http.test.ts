import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createHttp } from './http.ts'
import { problem } from './testing/fake-server.ts'
import { createTokenSource } from './tokens.ts'

type Answer = (request: IncomingMessage, response: ServerResponse) => void

/** An api that answers with one of these after the other, and with the last from then on. */
async function startApi(...answers: Answer[]) {
  const asked: number[] = []
  const server = createServer((request, response) => {
    answers[Math.min(asked.push(performance.now()), answers.length) - 1]?.(request, response)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  open.push(() => {
    server.closeAllConnections()
    server.close()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked }
}
const open: (() => void)[] = []
afterEach(() => {
  for (const close of open.splice(0)) close()
})

const fine: Answer = (_, response) => response.end('{"fine":true}')
const cut: Answer = (request) => request.socket.destroy()
const say =
  (status: number, headers: Record<string, string> = {}): Answer =>
  (_, response) =>
    response
      .writeHead(status, { ...headers, 'content-type': 'application/problem+json' })
      .end(
        JSON.stringify(
          status === 429 ? problem('rate_limited', 429, true) : problem('unavailable', 503, true),
        ),
      )

/** From a balancer, say. */
const stray =
  (status: number): Answer =>
  (_, response) =>
    response.writeHead(status, { 'content-type': 'text/html' }).end('<h1>No</h1>')

describe('calls', () => {
  let closed: AbortController
  const http = (...urls: string[]) => createHttp(urls, createTokenSource('token'), closed.signal)
  beforeEach(() => {
    closed = new AbortController()
  })

  it('are made again after no answer, unless that may do something twice', async () => {
    const api = await startApi(cut, fine)
    expect(await http(api.url).request('GET', '/')).toEqual({ fine: true })
    const once = await startApi(cut, fine)
    await expect(http(once.url).request('POST', '/')).rejects.toMatchObject({ code: 'network' })
    expect(once.asked.length).toBe(1)
    const twice = await startApi(cut, fine)
    expect(await http(twice.url).request('POST', '/', { repeatable: true })).toEqual({ fine: true })
  })

  it('say with which status something on the way answered, and go by it as by one of the api', async () => {
    const forbidden = await startApi(stray(403))
    const failed = { code: 'bad_request', status: 403 }
    await expect(http(forbidden.url).request('GET', '/')).rejects.toMatchObject(failed)
    const busy = await startApi(stray(429), stray(502))
    const gone = { code: 'network', status: 502 }
    await expect(http(busy.url).request('POST', '/')).rejects.toMatchObject(gone)
    expect(busy.asked.length).toBe(2)
  })

  it('send what they were given, whatever its owner does with it meanwhile', async () => {
    const bodies: string[] = []
    const keep: Answer = async (request, response) => {
      bodies.push(await text(request))
      response.end('{}')
    }
    const api = await startApi(say(503), keep)
    const body = { name: 'before' }
    const call = http(api.url).request('PUT', '/', { body })
    body.name = 'after'
    await call
    expect(bodies).toEqual(['{"name":"before"}'])
  })

  it('are made as often as was said, and no more', async () => {
    const api = await startApi(cut)
    await expect(http(api.url).request('GET', '/', { attempts: 3 })).rejects.toMatchObject({
      code: 'network',
    })
    expect(api.asked.length).toBe(3)
  })

  it('come back in as many seconds as they are told, also those that may do something twice', async () => {
    const api = await startApi(say(429, { 'retry-after': '0.5' }), fine)
    expect(await http(api.url).request('POST', '/')).toEqual({ fine: true })
    const [first = 0, second = 0] = api.asked
    expect(second - first).toBeGreaterThanOrEqual(490)
  })

  it('go to the next api after a 503', async () => {
    const [away, there] = [await startApi(say(503)), await startApi(fine)]
    const both = http(away.url, there.url)
    expect(await both.request('GET', '/')).toEqual({ fine: true })
    expect(await both.request('GET', '/')).toEqual({ fine: true })
    expect([away.asked.length, there.asked.length]).toEqual([1, 2])
  })
})

describe('a token', () => {
  const expiring = (inSeconds: number): string =>
    `${inSeconds}.${btoa(JSON.stringify({ exp: Math.floor(Date.now() / 1_000) + inSeconds }))}.s`

  it('is asked for once by all who want it, and again half a minute before it expires', async () => {
    const given = [expiring(20), expiring(3_600), expiring(7_200)]
    const source = createTokenSource(() => given.shift() ?? '')
    const all = await Promise.all([source.get(), source.get(), source.renew()])
    expect(all.map((token) => token.split('.')[0])).toEqual(['20', '20', '20'])
    expect((await source.get()).split('.')[0]).toBe('3600')
    expect((await source.get()).split('.')[0]).toBe('3600')
  })

  it('that is new and seems to have expired, since the clock here is ahead, is kept until it is refused', async () => {
    const given = [expiring(-600), expiring(-500)]
    const source = createTokenSource(() => given.shift() ?? '')
    const got = [await source.get(), await source.get(), await source.renew(), await source.get()]
    expect(got.map((token) => token.split('.')[0])).toEqual(['-600', '-600', '-500', '-500'])
  })
})
