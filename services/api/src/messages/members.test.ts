import { ObjectId } from 'mongodb'
import { expect, test } from 'vitest'
import type { Collections } from '../database/collections.ts'
import { createRoles } from '../participants/roles.ts'
import { createMembers } from './members.ts'

test('who takes part is known of each conversation of a batch, however many others there were since', async () => {
  const participants = { find: () => ({ toArray: async () => [] }) }
  const rows = participants as unknown as Collections['participants']
  const members = createMembers({ participants: rows, roles: createRoles({ participants: rows }) })
  const quiet = () => ({ cid: new ObjectId(), membersRev: new ObjectId(), participantCount: 1, authors: [] })
  const first = quiet()
  await members.load([first, ...Array.from({ length: 19_999 }, quiet)])
  await members.load([first, quiet()])
  expect(members.recipients(first.membersRev)).toBeDefined()
})
