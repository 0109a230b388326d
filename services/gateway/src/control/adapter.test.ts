import { once } from 'node:events'
import { createServer, type Server as HttpServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { closeRedis, connectRedis, createLogger } from '@parley/service-kit'
import { Server } from 'socket.io'
import { io as connect, type Socket } from 'socket.io-client'
import { afterEach, expect, inject, test, vi } from 'vitest'
import { createSession, keepSession } from '../connection/session.ts'
import { createControlAdapter } from './adapter.ts'

const logger = createLogger({ name: 'test', level: 'silent' })
const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

async function openServer() {
  const [publisher, subscriber] = (['fast', 'waiting'] as const).map((kind) =>
    connectRedis(inject('redisUrl'), { name: 'control', kind, logger }),
  ) as [ReturnType<typeof connectRedis>, ReturnType<typeof connectRedis>]
  const http: HttpServer = createServer()
  const io = new Server(http, { adapter: createControlAdapter({ publisher, subscriber, logger }) })
  closers.push(
    () => Promise.all([closeRedis(publisher), closeRedis(subscriber)]),
    () => io.close(),
  )
  await once(http.listen(0, '127.0.0.1'), 'listening')
  return { io, publisher, port: (http.address() as AddressInfo).port }
}

async function openClient(port: number): Promise<Socket> {
  const client = connect(`http://127.0.0.1:${port}`, { transports: ['websocket'], reconnection: false })
  closers.push(() => client.close())
  await vi.waitFor(() => expect(client.connected).toBe(true))
  return client
}

test('any server finds the sockets of all, and closes them', async () => {
  const [here, there] = [await openServer(), await openServer()]
  const clients = [await openClient(here.port), await openClient(there.port)]
  const ids = clients.map(({ id }) => id).sort()
  await vi.waitFor(async () => {
    expect((await here.io.fetchSockets()).map(({ id }) => id).sort()).toEqual(ids)
  })
  here.io.disconnectSockets(true)
  await vi.waitFor(() => expect(clients.map(({ connected }) => connected)).toEqual([false, false]))
})

test('what one learns of a socket elsewhere holds no token', async () => {
  const [here, there] = [await openServer(), await openServer()]
  await openClient(there.port)
  for (const socket of there.io.sockets.sockets.values()) {
    const session = createSession({ token: 'secret', issuedAt: 1, expiresAt: 2 }, {} as never)
    Object.assign(socket.data, { key: 'user:ada' })
    keepSession(socket.data, Object.assign(session, { link: { socket } }))
  }
  await vi.waitFor(async () => {
    expect((await here.io.fetchSockets()).map(({ data }) => data)).toEqual([{ key: 'user:ada' }])
  })
})

test('while Redis is away it fails for who asks, and for nobody else', async () => {
  const { io, publisher } = await openServer()
  publisher.disconnect()
  await expect(io.fetchSockets()).rejects.toThrow()
  io.disconnectSockets()
})
