import { afterAll, beforeAll, expect, inject, test, vi } from 'vitest'
import { ada, id, logger, open, openConversationWorld } from '../conversations/testing/world.ts'
import { createActivity } from './activity.ts'

let world: Awaited<ReturnType<typeof openConversationWorld>>
beforeAll(async () => {
  world = await openConversationWorld(inject('mongodbUri'))
})
afterAll(() => world.close())

const [earlier, later] = [new Date('2040-01-01T00:00Z'), new Date('2040-01-01T00:01Z')]

async function openActivity() {
  const { participants } = world.database
  const cid = id(await open(world.service(), ada))
  return {
    participants,
    /** As one of many processes, each with a memory of its own. */
    process() {
      const { touch, idle } = createActivity({ participants, logger })
      return async (at: Date) => {
        touch([{ cid, at }])
        await idle()
      }
    },
    /** Writes of activity wait for no majority. */
    stored: async () => (await participants.findOne({ cid }, { readConcern: 'local' }))?.activityAt,
  }
}

test('activity never goes back, even if an older one is written later', async () => {
  const { process, stored } = await openActivity()
  await process()(later)
  await process()(earlier)
  expect(await stored()).toEqual(later)
})

test('activity that could not be written is written with the next of the same minute', async () => {
  const { participants, process, stored } = await openActivity()
  const touch = process()
  vi.spyOn(participants, 'bulkWrite').mockRejectedValueOnce(new Error('MongoDB is away'))
  await touch(later)
  expect(await stored()).not.toEqual(later)
  await touch(later)
  expect(await stored()).toEqual(later)
})
