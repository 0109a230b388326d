import { expect, test } from 'vitest'
import { createFakeSocket } from '../testing/fake-socket.ts'
import { createPeople } from './people.ts'

const socketOf = (orgId: string, key: string) => {
  const { socket } = createFakeSocket()
  Object.assign(socket.data, { orgId, key })
  return socket
}

test('an org is known here as long as one of its sockets is', () => {
  const people = createPeople()
  const [one, two] = [socketOf('acme', 'user:ada'), socketOf('acme', 'user:ada')]
  people.add(one)
  people.add(two)
  people.remove(one)
  expect(people.hasOrg('acme')).toBe(true)
  expect([...people.of('acme', 'user:ada')]).toEqual([two])
  people.remove(two)
  expect(people.hasOrg('acme')).toBe(false)
  expect(people.isEmpty()).toBe(true)
})
