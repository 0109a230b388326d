import { randomUUID } from 'node:crypto'
import type { ProblemError } from '@parley/contract'
import { type CommandStartedEvent, ObjectId } from 'mongodb'
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
  await expect.poll(() => performance.now() - lastCommandAt).toBeGreaterThan(QUIET_MS)
  const commands: string[] = []
  const note = ({ commandName, command }: CommandStartedEvent) =>
    commands.push(`${commandName} ${command[commandName]}`)
  database.client.on('commandStarted', note)
  await call().catch((error: ProblemError) => commands.push(error.code))
  database.client.off('commandStarted', note)
  return commands
}

const send = (cid: string, content: string, caller = ada) =>
  services.messages.create(caller, { conversationId: cid, role: 'user', content }, undefined)

test('the most frequent requests take no more round trips than they must', async () => {
  const { conversation } = await services.conversations.create(ada, {})
  const cid = conversation.id
  await send(cid, 'the participants are read once, with the first message')

  expect(await commandsOf(() => send(cid, 'hello'))).toEqual(['find conversations', 'insert messages'])
  expect(await commandsOf(() => services.messages.list(ada, cid, {}))).toHaveLength(2)
  expect((await commandsOf(() => services.lists.mine(ada, {}))).length).toBeLessThanOrEqual(3)
})

test('whoever takes no part can not tell by the queries what exists', async () => {
  const externalId = randomUUID()
  const { conversation } = await services.conversations.create(ada, { externalId })
  const nowhere = new ObjectId().toHexString()
  for (const caller of [
    { ...ada, orgId: 'elsewhere' },
    { ...ada, id: 'eve' },
  ]) {
    const sent = await commandsOf(() => send(nowhere, 'x', caller))
    expect(sent.at(-1)).toBe('not_found')
    // Twice: what was found out must not show either.
    for (let times = 0; times < 2; times++) {
      expect(await commandsOf(() => send(conversation.id, 'x', caller))).toEqual(sent)
    }
    const found = (externalId: string) => commandsOf(() => services.lists.list(caller, { externalId }))
    expect(await found(externalId)).toEqual(await found(randomUUID()))
  }
}, 60_000)
