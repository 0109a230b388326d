import { createProxy, type FaultProxy, freePort } from '@parley/devstack'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { until } from '../support/until.ts'
import { openScene, type Scene } from './scene.ts'

let scene: Scene
let link: FaultProxy
beforeAll(async () => {
  const redisPort = await freePort()
  link = await createProxy(redisPort)
  const REDIS_URL = `redis://127.0.0.1:${link.port}`
  scene = await openScene({ apis: 1, redisPort, serviceEnv: { api: { REDIS_URL } } })
})
afterEach(() => {
  link.heal()
  scene.hangUp()
})
afterAll(async () => {
  await scene.close()
  await link.close()
})

const isCutOff = async () => {
  const response = await fetch(`${scene.stack.apiUrl}/health/ready`)
  const { degraded } = (await response.json()) as { degraded?: string[] }
  return degraded?.includes('redis')
}

/** While a gateway has heard no sign of life it asks the api itself: what was said would arrive by that. */
const isLive = async (url: string) =>
  /^gateway_streams_live\S* 1$/m.test(await (await fetch(`${url}/metrics`)).text())

/** Three people in a room, on both gateways; then the api, and nobody else, is cut off from Redis. */
async function cutOff() {
  const { ada, bob, eve } = scene.names('ada', 'bob', 'eve')
  const id = await scene.conversation(ada, bob, eve)
  const [a, b, e] = [await scene.join(ada, id, 0), await scene.join(bob, id, 1), await scene.join(eve, id, 1)]
  const say = (content: string) => a.sure('message:send', { conversationId: id, role: 'user', content })
  await say('before')
  await Promise.all([b, e].map((listener) => listener.first('message:new', { seq: 1 })))
  for (const url of scene.stack.gatewayUrls) await until(() => isLive(url))
  link.cut()
  await until(isCutOff)
  await say('meanwhile')
  await scene.http(ada).once('DELETE', `/conversations/${id}/participants/user/${bob}`)
  await scene.http('boss', ['admin']).once('POST', '/auth/revoke', { type: 'user', id: eve })
  return { id, a, b, e, say }
}

test('what the api can not publish reaches people all the same, on gateways that see nothing wrong', async () => {
  const { id, a, b, e, say } = await cutOff()
  await a.first('message:new', { seq: 2 }, 5_000)
  expect(await b.first('conversation:removed', {}, 2_000)).toEqual({ conversationId: id, reason: 'removed' })
  await until(() => !e.socket.connected, { timeoutMs: 2_000 })
  await say('still apart')
  await a.first('message:new', { seq: 3 }, 2_000)
  link.heal()
  await until(async () => !(await isCutOff()))
  await say('after')
  await a.first('message:new', { seq: 4 })
  expect(a.of('message:new').map(({ seq }) => seq)).toEqual([1, 2, 3, 4])
})

test('what the api could not publish for a moment is published within a second', async () => {
  const { id, a, b, e } = await cutOff()
  link.heal()
  await until(async () => !(await isCutOff()))
  const soon = 1_000
  await Promise.all([
    a.first('message:new', { seq: 2 }, soon),
    b.first('conversation:removed', { conversationId: id, reason: 'removed' }, soon),
    until(() => !e.socket.connected, { timeoutMs: soon, what: 'the end of a revoked socket' }),
  ])
})

test('a conversation that the api could not announce is not shown later to somebody removed meanwhile', async () => {
  const { ada, bob } = scene.names('ada', 'bob')
  link.cut()
  await until(isCutOff)
  const id = await scene.conversation(ada, bob)
  await scene.http(ada).once('DELETE', `/conversations/${id}/participants/user/${bob}`)
  await scene
    .http(ada)
    .sure('POST', '/messages', { conversationId: id, role: 'user', content: 'without bob' })
  // Only now: a gateway that asks the api while bob takes part would be right to show it.
  const b = await scene.connect(bob)
  link.heal()
  await until(async () => !(await isCutOff()))
  await b.first('conversation:removed', { conversationId: id })
  expect(b.of('conversation:added')).toEqual([])
})
