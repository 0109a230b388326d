import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { freePort } from './ports.ts'
import { createProxy, type FaultProxy } from './proxy.ts'

let echo: Server
let proxy: FaultProxy
const clients: Socket[] = []
let heardByServer = ''
let accepted: Socket[] = []

beforeEach(async () => {
  heardByServer = ''
  accepted = []
  const port = await freePort()
  echo = createServer({ allowHalfOpen: true }, (socket) => {
    accepted.push(socket)
    socket.on('error', () => socket.destroy())
    socket.on('data', (chunk) => {
      heardByServer += chunk
      socket.write(chunk)
    })
  })
  echo.listen(port, '127.0.0.1')
  await once(echo, 'listening')
  proxy = await createProxy(port)
})

afterEach(async () => {
  for (const socket of [...clients.splice(0), ...accepted]) socket.destroy()
  await proxy.close()
  await new Promise((resolve) => echo.close(resolve))
})

/** A client with what it has heard and how it ended. */
function open() {
  const socket = connect({ port: proxy.port, host: '127.0.0.1', allowHalfOpen: true })
  const state = { heard: '', ended: false, failed: false, socket }
  socket.on('data', (chunk) => {
    state.heard += chunk
  })
  socket.on('end', () => {
    state.ended = true
  })
  socket.on('error', () => {
    state.failed = true
  })
  clients.push(socket)
  return state
}

test('passes bytes both ways, more than a socket buffers', async () => {
  const client = open()
  const text = 'x'.repeat(3_000_000)
  client.socket.write(text)
  await vi.waitFor(() => expect(client.heard.length).toBe(text.length))
})

test('cut resets what is open and what comes, until healed', async () => {
  const before = open()
  before.socket.write('a')
  await vi.waitFor(() => expect(before.heard).toBe('a'))
  proxy.cut()
  await vi.waitFor(() => expect(before.failed).toBe(true))
  const during = open()
  await vi.waitFor(() => expect(during.failed || during.socket.destroyed).toBe(true))
  expect(proxy.connections).toBe(0)
  proxy.heal()
  const after = open()
  after.socket.write('b')
  await vi.waitFor(() => expect(after.heard).toBe('b'))
})

test('a stall holds bytes back and loses none', async () => {
  const stalled = open()
  stalled.socket.write('a')
  await vi.waitFor(() => expect(stalled.heard).toBe('a'))
  proxy.stall()
  stalled.socket.write('b')
  // A connection opened later goes through a proxy that has had its chance to pass the byte before.
  const second = open()
  await once(second.socket, 'connect')
  await vi.waitFor(() => expect(proxy.connections).toBe(2))
  expect(heardByServer).toBe('a')
  proxy.heal()
  await vi.waitFor(() => expect(stalled.heard).toBe('ab'))
})

test('half-closed towards the client, the client still reaches the server', async () => {
  const client = open()
  client.socket.write('a')
  await vi.waitFor(() => expect(client.heard).toBe('a'))
  proxy.halfClose('client')
  await vi.waitFor(() => expect(client.ended).toBe(true))
  client.socket.write('b')
  await vi.waitFor(() => expect(heardByServer).toBe('ab'))
  expect(client.heard).toBe('a')
  proxy.heal()
  await vi.waitFor(() => expect(accepted[0]?.destroyed).toBe(true))
  expect(proxy.connections).toBe(0)
})

test('stranded, a connection hears nothing more and is not told; a new one is whole', async () => {
  const stranded = open()
  stranded.socket.write('a')
  await vi.waitFor(() => expect(stranded.heard).toBe('a'))
  proxy.strand()
  stranded.socket.write('b')
  const fresh = open()
  fresh.socket.write('c')
  await vi.waitFor(() => expect(fresh.heard).toBe('c'))
  expect(heardByServer).toBe('ac')
  expect([stranded.ended, stranded.failed]).toEqual([false, false])
  proxy.heal()
  await vi.waitFor(() => expect(stranded.failed).toBe(true))
})
