import type { Caller } from '@parley/contract'
import { createPublisher } from '@parley/events'
import { createLogger } from '@parley/service-kit'
import { Redis } from 'ioredis'
import { ObjectId } from 'mongodb'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { connectDatabase } from './database/client.ts'
import { createServices } from './services.ts'

const logger = createLogger({ name: 'test', level: 'silent' })
const redis = new Redis(inject('redisUrl'))
const uri = new URL(inject('mongodbUri'))
uri.pathname = `/trips-${new ObjectId().toHexString()}`

const ada: Caller = { type: 'user', id: 'ada', orgId: 'acme', roles: [], name: null, picture: null }

let database: Awaited<ReturnType<typeof connectDatabase>>
let services: Awaited<ReturnType<typeof createServices>>
let lastCommandAt = performance.now()
beforeAll(async () => {
  database = await connectDatabase(uri.href, { monitorCommands: true })
  database.client.on('commandStarted', () => {
    lastCommandAt = performance.now()
  })
  services = await createServices({
    database,
    publisher: createPublisher({ redis, logger }),
    redis,
    queueRedis: redis,
    logger,
    prices: {},
    hopLimit: 8,
    reconcileMs: 60_000,
  })
})
afterAll(async () => {
  await services.close()
  await database.db.dropDatabase()
  await database.close()
  redis.disconnect()
})

/** Longer than anything waits that follows an answer: fold, read position, outbox. */
const QUIET_MS = 1_600

/** Commands that the driver sends until the call is answered; what follows an answer is waited for by nobody. */
async function commandsOf(call: () => Promise<unknown>): Promise<string[]> {
  await expect.poll(() => performance.now() - lastCommandAt, { timeout: 10_000 }).toBeGreaterThan(QUIET_MS)
  const commands: string[] = []
  const note = ({ commandName }: { commandName: string }) => commands.push(commandName)
  database.client.on('commandStarted', note)
  await call()
  database.client.off('commandStarted', note)
  return commands
}

const send = (cid: string, content: string) =>
  services.messages.create(ada, { conversationId: cid, role: 'user', content }, undefined)

test('what is asked most takes the round trips it must', async () => {
  const { conversation } = await services.conversations.create(ada, {})
  const cid = conversation.id
  await send(cid, 'who takes part is read once, with the first message')

  expect(await commandsOf(() => send(cid, 'hello'))).toEqual(['find', 'insert'])
  expect(await commandsOf(() => services.messages.list(ada, cid, {}))).toEqual(['find', 'find'])
  expect((await commandsOf(() => services.lists.mine(ada, {}))).length).toBeLessThanOrEqual(3)
})
