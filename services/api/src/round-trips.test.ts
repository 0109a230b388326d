import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { ada, openServices } from './internal/testing/world.ts'

type World = Awaited<ReturnType<typeof openServices>>
let world: World
let database: World['database']
let services: World['services']
let lastCommandAt = performance.now()
beforeAll(async () => {
  world = await openServices(inject('mongodbUri'), inject('redisUrl'))
  database = world.database
  services = world.services
  database.client.on('commandStarted', () => {
    lastCommandAt = performance.now()
  })
})
afterAll(() => world.close())

/** Longer than the delay of any work that follows an answer: fold, read position, outbox. */
const QUIET_MS = 1_600

/** Commands that the driver sends until the call is answered; nobody waits for those that follow. */
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

test('the most frequent requests take no more round trips than they must', async () => {
  const { conversation } = await services.conversations.create(ada, {})
  const cid = conversation.id
  await send(cid, 'the participants are read once, with the first message')

  expect(await commandsOf(() => send(cid, 'hello'))).toEqual(['find', 'insert'])
  expect(await commandsOf(() => services.messages.list(ada, cid, {}))).toEqual(['find', 'find'])
  expect((await commandsOf(() => services.lists.mine(ada, {}))).length).toBeLessThanOrEqual(3)
})
