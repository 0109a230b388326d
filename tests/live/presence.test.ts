import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { listen } from '../support/listener.ts'
import { until } from '../support/until.ts'
import { openScene, type Scene } from './scene.ts'

let scene: Scene
beforeAll(async () => {
  scene = await openScene()
})
afterEach(() => scene.hangUp())
afterAll(() => scene.close())

interface Status {
  status: string
  at: string | null
}

async function presence(gateway: number, path: string, token: string) {
  const response = await fetch(`${scene.stack.gatewayUrls[gateway]}/presence/${path}`, {
    headers: { authorization: `Bearer ${token}` },
  })
  const body = (await response.json()) as object
  return { status: response.status, body }
}

test('comings and goings are told on every gateway, and shown in the lists', async () => {
  const { ada, bob, bot } = scene.names('ada', 'bob', 'bot')
  const id = await scene.conversation(ada, bob, `agent:${bot}`)
  const a = await scene.join(ada, id, 0)
  const b = await scene.join(bob, id, 1)
  const agent = await scene.join(`agent:${bot}`, id, 1)
  await a.first('presence:update', { participantId: bob, participantType: 'user', status: 'online' })
  await a.first('user:joined', { conversationId: id, userId: bob })
  await a.first('user:joined', { conversationId: id, participantType: 'agent', participantId: bot })
  const online = await a.sure('conversation:online', { conversationId: id })
  expect(online.users.sort()).toEqual([ada, bob].sort())
  expect(online.agents).toEqual([bot])

  await b.sure('conversation:leave', { conversationId: id })
  await a.first('user:left', { conversationId: id, participantId: bob }, 1_500)
  expect(a.of('presence:update', { participantId: bob, status: 'offline' })).toEqual([])
  agent.close()
  await a.first('user:left', { participantType: 'agent', participantId: bot })
  await a.first('presence:update', { participantType: 'agent', participantId: bot, status: 'offline' })
})

test('a join says who is there, the caller too', async () => {
  const { ada, bob } = scene.names('ada', 'bob')
  const id = await scene.conversation(ada, bob)
  const a = await scene.join(ada, id, 0)
  await a.first('user:joined', { userId: ada })
  const b = await scene.connect(bob, 1)
  const { online } = await b.sure('conversation:join', { conversationId: id })
  expect(online.users.sort()).toEqual([ada, bob].sort())
})

test('those who join in the same moment on different gateways learn of each other', async () => {
  const rooms = Array.from({ length: 20 }, () => Object.values(scene.names('ada', 'bob', 'cyd', 'dan')))
  const joins = await Promise.all(
    rooms.map(async (people) => {
      const id = await scene.conversation(...people)
      const listeners = await Promise.all(people.map((person, index) => scene.connect(person, index % 2)))
      return listeners.map((listener) => ({ id, people, listener }))
    }),
  )
  const joined = joins.flat().map(async ({ id, people, listener }) => {
    const { online } = await listener.sure('conversation:join', { conversationId: id })
    return { people, online, listener }
  })
  for (const { people, online, listener } of await Promise.all(joined)) {
    for (const userId of people)
      if (!online.users.includes(userId)) await listener.first('user:joined', { userId })
  }
})

test('a page that reloads, on another gateway even, causes no event; a second device neither', async () => {
  const { ada, bob } = scene.names('ada', 'bob')
  const id = await scene.conversation(ada, bob)
  const a = await scene.join(ada, id, 0)
  const first = await scene.join(bob, id, 0)
  await a.first('user:joined', { userId: bob })
  const second = await scene.join(bob, id, 1)
  first.cut()
  const third = await scene.join(bob, id, 0)
  second.close()
  // Longer than the debounce: what it would let through has come by then.
  await delay(3_000)
  expect(a.of('user:joined', { userId: bob })).toHaveLength(1)
  expect(a.of('user:left', { userId: bob })).toEqual([])
  expect(a.of('presence:update', { userId: bob })).toHaveLength(1)
  third.close()
  await a.first('presence:update', { userId: bob, status: 'offline' })
  await a.first('user:left', { userId: bob })
})

test('presence by HTTP: for those who share a conversation, and a page of all for admins', async () => {
  const { ada, bob, eve, root } = scene.names('ada', 'bob', 'eve', 'root')
  const id = await scene.conversation(ada, bob)
  await scene.join(bob, id, 0)
  const found = await until(async () => {
    const answer = await presence(1, `user/${bob}`, scene.token(ada))
    return (answer.body as Status).status === 'online' ? answer : null
  })
  expect(found.body).toEqual({ type: 'user', id: bob, status: 'online', at: expect.any(String) })
  expect((await presence(0, `user/${ada}`, scene.token(bob))).body).toMatchObject({ status: 'offline' })

  const strange = await presence(0, `user/${bob}`, scene.token(eve))
  const nobody = await presence(0, `user/nobody`, scene.token(eve))
  expect([strange.status, nobody.status]).toEqual([404, 404])
  expect(Object.keys(strange.body)).toEqual(Object.keys(nobody.body))
  expect((await presence(0, 'user', scene.token(ada))).status).toBe(403)
  expect((await presence(0, 'robot', scene.token(ada))).status).toBe(422)
  expect((await presence(0, 'user', 'nonsense')).status).toBe(401)

  await scene.connect(ada, 1)
  const ids: string[] = []
  const cursors: string[] = []
  await until(async () => {
    ids.length = 0
    let cursor: string | null = null
    do {
      const query = cursor === null ? '' : `&cursor=${encodeURIComponent(cursor)}`
      const { body } = await presence(1, `user?limit=1${query}`, scene.token(root, ['admin']))
      const page = body as { data: { id: string }[]; page: { nextCursor: string | null } }
      ids.push(...page.data.map((one) => one.id))
      cursor = page.page.nextCursor
      if (cursor !== null) cursors.push(encodeURIComponent(cursor))
    } while (cursor !== null)
    return ids.includes(ada) && ids.includes(bob)
  })
  expect(new Set(ids).size).toBe(ids.length)
  const refused = async (path: string, orgId?: string) =>
    (await presence(0, path, scene.token(root, ['admin'], orgId))).body
  for (const body of [
    await refused('user?cursor=bm9wZQ'),
    await refused(`agent?cursor=${cursors[0]}`),
    await refused(`user?cursor=${cursors[0]}`, 'elsewhere'),
  ]) {
    expect(body).toMatchObject({ status: 400, code: 'invalid_cursor' })
  }
})

test('an agent and a person of one id are told apart, one by one and in the lists', async () => {
  const { ada, sam, kim } = scene.names('ada', 'sam', 'kim')
  const id = await scene.conversation(ada, sam, kim, `agent:${sam}`, `agent:${kim}`)
  const a = await scene.join(ada, id, 0)
  await scene.connect(`agent:${sam}`, 0)
  await scene.connect(kim, 1)
  await a.first('presence:update', { participantType: 'agent', participantId: sam, status: 'online' })
  await a.first('presence:update', { participantType: 'user', participantId: kim, status: 'online' })
  for (const [type, here, away] of [
    ['agent', sam, kim],
    ['user', kim, sam],
  ]) {
    const one = async (who = '') => (await presence(1, `${type}/${who}`, scene.token(ada))).body
    expect(await one(here)).toEqual({ type, id: here, status: 'online', at: expect.any(String) })
    expect(await one(away)).toEqual({ type, id: away, status: 'offline', at: null })
    const { body } = await presence(1, `${type}?limit=100`, scene.token('root', ['admin']))
    const listed = (body as { data: { id: string }[] }).data.map((one) => one.id)
    expect([listed.includes(here ?? ''), listed.includes(away ?? '')]).toEqual([true, false])
  }
})

test('people of another org look like nobody, to namesakes and admins too', async () => {
  const { ada, bob } = scene.names('ada', 'bob')
  const id = await scene.conversation(ada, bob, `agent:${bob}`)
  const a = await scene.join(ada, id, 0)
  await scene.connect(bob, 0)
  await scene.connect(`agent:${bob}`, 1)
  for (const participantType of ['user', 'agent'] as const) {
    await a.first('presence:update', { participantType, participantId: bob, status: 'online' })
  }
  const looksLike = async (path: string, token: string, known: string) => {
    const { status, body } = await presence(0, path, token)
    return JSON.stringify({ status, body: { ...body, requestId: '' } }).replaceAll(known, '…')
  }
  const others = [
    scene.token('eve', [], 'elsewhere'),
    scene.token(ada, [], 'elsewhere'),
    scene.token(`agent:${bob}-2`, [], 'elsewhere'),
    scene.token('boss', ['admin'], 'elsewhere'),
  ]
  for (const token of others) {
    for (const type of ['user', 'agent']) {
      const seen = await looksLike(`${type}/${bob}`, token, bob)
      expect(seen).toBe(await looksLike(`${type}/nobody`, token, 'nobody'))
    }
  }
  // Nor does one's own other self in another org make one online there.
  const self = await presence(0, `user/${bob}`, scene.token(bob, [], 'elsewhere'))
  expect(self.body).toEqual({ type: 'user', id: bob, status: 'offline', at: null })
  const boss = scene.token('boss', ['admin'], 'elsewhere')
  for (const type of ['user', 'agent']) {
    expect((await presence(0, type, boss)).body).toEqual({
      data: [],
      page: { nextCursor: null, prevCursor: null, hasMore: false },
    })
  }
})

test('a namesake of another org comes and goes unheard', async () => {
  const { ada, bob, cyd } = scene.names('ada', 'bob', 'cyd')
  const id = await scene.conversation(ada, bob, cyd)
  const a = await scene.join(ada, id, 0)
  const namesake = await listen(scene.stack.gatewayUrls[1] ?? '', scene.token(cyd, [], 'elsewhere'))
  const boss = scene.token('boss', ['admin'], 'elsewhere')
  const status = async () => ((await presence(0, `user/${cyd}`, boss)).body as Status).status
  await until(async () => (await status()) === 'online')
  namesake.close()
  await until(async () => (await status()) === 'offline')
  await scene.connect(bob, 1)
  await a.first('presence:update', { participantId: bob, status: 'online' })
  expect(a.of('presence:update', { participantId: cyd })).toEqual([])
})

test('a Redis that lost everything has who is there again, and nobody is told of it', async () => {
  const { ada, bob } = scene.names('ada', 'bob')
  const id = await scene.conversation(ada, bob)
  const a = await scene.join(ada, id, 0)
  await scene.join(bob, id, 1)
  await a.first('user:joined', { userId: bob })
  await a.first('presence:update', { userId: bob })
  const told = a.heard.length
  const redis = new Redis(scene.stack.redisUrl)
  await redis.flushall()
  await redis.quit()
  await until(
    async () => {
      const { users } = await a.sure('conversation:online', { conversationId: id })
      return users.includes(bob)
    },
    { timeoutMs: 15_000 },
  )
  expect(a.heard.slice(told).filter(({ event }) => event !== 'resync')).toEqual([])
})

test('comings and goings while a gateway heard nothing from the others are told there soon after', async () => {
  const { ada, bob, cyd } = scene.names('ada', 'bob', 'cyd')
  const id = await scene.conversation(ada, bob, cyd)
  const a = await scene.join(ada, id, 0)
  const b = await scene.join(bob, id, 1)
  await a.first('user:joined', { userId: bob })
  const redis = new Redis(scene.stack.redisUrl)
  scene.stack.pause('gateway-0')
  try {
    await redis.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
    await b.sure('conversation:leave', { conversationId: id })
    await scene.join(cyd, id, 1)
    await until(async () => {
      const held = await redis.hkeys(`conversation:${id}:users`)
      return held.includes(cyd) && !held.includes(bob)
    })
  } finally {
    scene.stack.resume('gateway-0')
    redis.disconnect()
  }
  await a.first('user:left', { userId: bob }, 15_000)
  await a.first('user:joined', { userId: cyd })
  const { users } = await a.sure('conversation:online', { conversationId: id })
  expect(users.sort()).toEqual([ada, cyd].sort())
})

test('the people of a gateway that was killed are offline within 15 s, and those elsewhere are not', async () => {
  const { ada, bob, cyd } = scene.names('ada', 'bob', 'cyd')
  const id = await scene.conversation(ada, bob, cyd)
  const a = await scene.join(ada, id, 0)
  await scene.join(bob, id, 1)
  await scene.join(cyd, id, 1)
  await scene.join(cyd, id, 0)
  await a.first('user:joined', { userId: bob })
  await a.first('user:joined', { userId: cyd })
  await scene.stack.kill('gateway-1')
  try {
    await a.first('presence:update', { userId: bob, status: 'offline' }, 15_000)
    await a.first('user:left', { userId: bob }, 2_000)
    const { users } = await a.sure('conversation:online', { conversationId: id })
    expect(users.sort()).toEqual([ada, cyd].sort())
    expect(a.of('presence:update', { userId: cyd, status: 'offline' })).toEqual([])
    expect(a.of('user:left', { userId: cyd })).toEqual([])
  } finally {
    await scene.stack.start('gateway-1')
  }
})
