import { once } from 'node:events'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { counterAt, heldMiB, INSPECTABLE } from '../support/process.ts'
import { openConnection, openRawSocket } from '../support/raw-socket.ts'
import { each, until } from '../support/until.ts'
import { openScene, type Scene } from './scene.ts'

/** Milliseconds in which one is gone that was found to read too slowly. */
const GONE_MS = 10_000
/** What the gateway may grow by: what waits for the reader, and the answer that was too much. */
const MAX_MIB = 8
/** As long as a message may be. */
const CONTENT = 'x'.repeat(64 * 1024)

let scene: Scene
let url: string
beforeAll(async () => {
  scene = await openScene({
    apis: 1,
    gateways: 1,
    nodeFlags: [INSPECTABLE],
    env: { RATE_LIMIT_REST: '0', RATE_LIMIT_SEND: '0', RATE_LIMIT_EVENTS: '0' },
  })
  url = scene.stack.gatewayUrls[0] ?? ''
})
afterEach(() => scene.hangUp())
afterAll(() => scene.close())

async function conversationOf(name: string, messages: number): Promise<string> {
  const conversationId = await scene.conversation(name)
  const bodies = Array.from({ length: messages }, () => ({ conversationId, role: 'user', content: CONTENT }))
  await each(bodies, 4, (body) => scene.http(name).sure('POST', '/messages', body))
  return conversationId
}
const tooSlow = () => counterAt(url, 'gateway_slow_readers_total')

test('a client that joins two hundred times and reads nothing is gone soon, and costs the gateway next to nothing', async () => {
  const { eve } = scene.names('eve')
  const conversations = await Promise.all(Array.from({ length: 10 }, () => conversationOf(eve, 20)))
  const reader = await openRawSocket(url, scene.token(eve))
  const before = await heldMiB(scene.stack, 'gateway-0')
  reader.stopReading()
  for (let n = 0; n < 200; n++) {
    const payload = { conversationId: conversations[n % conversations.length], afterSeq: 0 }
    reader.frame(`42/chat,${n}${JSON.stringify(['conversation:join', payload])}`)
  }
  let most = before
  const figure = async (name: string) => {
    most = Math.max(most, await heldMiB(scene.stack, 'gateway-0'))
    return counterAt(url, name)
  }
  await until(async () => (await figure('gateway_slow_readers_total')) === 1, { what: 'the reader is slow' })
  const gone = async () => (await figure('gateway_sockets')) === 0
  await until(gone, { timeoutMs: GONE_MS, what: 'the reader is gone' })
  expect(most - before).toBeLessThan(MAX_MIB)
  reader.close()
})

test('a client without a token that asks for unknown namespaces and reads nothing is gone soon, and costs nothing', async () => {
  const ws = await openConnection(url)
  const before = await heldMiB(scene.stack, 'gateway-0')
  ws.pause()
  const gone = once(ws, 'close')
  for (let n = 0; n < 500; n++) ws.send(`40/${n}${'x'.repeat(200 * 1024)},`, () => undefined)
  await until(() => ws.readyState === ws.CLOSED || ws.bufferedAmount === 0, { timeoutMs: GONE_MS })
  expect((await heldMiB(scene.stack, 'gateway-0')) - before).toBeLessThan(MAX_MIB)
  ws.resume()
  await gone
})

test('a client that pings its websocket and reads nothing costs the gateway next to nothing', async () => {
  const { pia } = scene.names('pia')
  const reader = await openRawSocket(url, scene.token(pia))
  const read = () => counterAt(url, 'gateway_client_events_total', 'event="unknown"')
  const [before, readBefore] = [await heldMiB(scene.stack, 'gateway-0'), await read()]
  reader.stopReading()
  for (let n = 0; n < 100_000; n++) reader.ws.ping('x'.repeat(125))
  reader.frame('42/chat,["that was all"]')
  await until(async () => (await read()) > readBefore, { what: 'all of it is read' })
  expect((await heldMiB(scene.stack, 'gateway-0')) - before).toBeLessThan(MAX_MIB)
  reader.close()
})

test('a slow reader gets through a page of long messages, and the live ones after it', async () => {
  const { ada } = scene.names('ada')
  const conversationId = await conversationOf(ada, 100)
  const slowBefore = await tooSlow()
  const reader = await openRawSocket(url, scene.token(ada))
  const heard: string[] = []
  reader.ws.on('message', (data) => heard.push(data.toString()))
  const joined = reader.request('conversation:join', { conversationId, afterSeq: 0 })
  reader.stopReading()
  const listener = await scene.join(ada, conversationId)
  await listener.sure('message:send', { conversationId, role: 'user', content: 'live' })
  await listener.first('message:new', { seq: 101 })
  expect(await tooSlow()).toBe(slowBefore)
  reader.ws.resume()
  const answer = await joined
  expect(answer).toMatchObject({ ok: true, lastSeq: 100, hasMore: true })
  await until(() => heard.some((frame) => frame.startsWith('42/chat,["message:new"')))
  expect(reader.open).toBe(true)
  reader.close()
})
