import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { Socket } from 'node:net'
import { ObjectId } from 'mongodb'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { connectDatabase, type Database } from './client.ts'

const sockets: Socket[] = []
const collect = (message: unknown) => void sockets.push((message as { socket: Socket }).socket)
let database: Database

beforeAll(async () => {
  subscribe('net.client.socket', collect)
  const uri = new URL(inject('mongodbUri'))
  uri.pathname = `/sockets-${new ObjectId().toHexString()}`
  database = await connectDatabase(uri.href)
})
afterAll(async () => {
  unsubscribe('net.client.socket', collect)
  await database.db.dropDatabase()
  await database.close()
})

test('an operation whose connection closes while it is written does not wait forever', async () => {
  let closed = 0
  for (const socket of sockets) {
    const write = socket.write
    socket.write = (...args: unknown[]) => {
      // What a close by the other end at that moment looks like: the write is not taken, and there is no error.
      closed += 1
      socket.destroy()
      return Reflect.apply(write, socket, args)
    }
  }
  await expect(database.messages.findOne({})).resolves.toBeNull()
  expect(closed).toBeGreaterThan(0)
})
