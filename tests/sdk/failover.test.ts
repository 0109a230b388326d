import { createParley } from '@parley/client'
import { type Stack, startStack } from '@parley/devstack'
import { MongoClient } from 'mongodb'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'

let stack: Stack

beforeAll(async () => {
  stack = await startStack({ mongoMembers: 3, gateways: 1, workers: 0, supervise: true })
}, 120_000)
afterAll(() => stack.close())

/** Name of the process that is primary now. */
async function primary(): Promise<string> {
  const client = await MongoClient.connect(stack.mongodbUri)
  try {
    const { hosts, primary } = await client.db('admin').command({ hello: 1 })
    const index = (hosts as string[]).indexOf(primary as string)
    return `mongod-${index}`
  } finally {
    await client.close()
  }
}

it('loses, doubles and reorders nothing when the primary of three is killed under sends', async () => {
  const token = stack.token({ sub: 'ada', orgId: 'failover' })
  const ada = createParley({ apiUrl: stack.apiUrl, gatewayUrls: stack.gatewayUrls, token })
  const { id } = await ada.conversations.create({ title: 'Through an election' })
  const room = ada.conversation(id)
  const heard: string[] = []
  room.on('message:new', ({ content }) => heard.push(content))
  await room.join()
  const said = Array.from({ length: 40 }, (_, i) => `line ${i + 1}`)
  for (const [index, line] of said.entries()) {
    if (index === 15) await stack.kill(await primary())
    const { content } = await room.send(line)
    expect(content).toBe(line)
  }
  await vi.waitFor(() => expect(heard).toEqual(said), { timeout: 20_000, interval: 50 })
  ada.close()
})
