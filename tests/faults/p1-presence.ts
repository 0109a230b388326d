import { setTimeout as delay } from 'node:timers/promises'
import type { Socket } from 'socket.io-client'
import type { Random } from '../support/random.ts'
import { joinRoom, openSocket } from '../support/socket.ts'
import { comesTrue, each } from '../support/until.ts'
import type { Bed } from './bed.ts'
import type { Row } from './row.ts'

/** Connected for this long, on gateways that are well: whoever is then called offline is so wrongly. */
const STEADY_MS = 5_000
const ROOM_SIZE = 20

interface Person {
  name: string
  conversationId: string
  devices: Device[]
  /** Whether they want to be there. */
  here: boolean
}
interface Device {
  socket: Socket | null
  gateway: number
  since: number
}

export const p1: Row<{ sessions: number; rounds: number; pauseMs: [number, number] }, Bed> = {
  name: 'P1',
  title: 'presence while gateways are killed and paused',
  short: { sessions: 60, rounds: 2, pauseMs: [2_000, 3_000] },
  full: (minutes) => ({ sessions: 1_000, rounds: Math.max(4, minutes), pauseMs: [1_000, 14_000] }),
  async run(bed, { random, size, log }) {
    const faults: string[] = []
    const crowd = await createCrowd(bed, random, size.sessions, faults)
    let slowest = 0
    try {
      for (let round = 0; round < size.rounds; round++) {
        const gateway = random.int(0, bed.gatewayUrls.length - 1)
        const kill = round % 2 === 0
        log(`round ${round + 1}/${size.rounds}: ${kill ? 'kill' : 'pause'} gateway-${gateway}`)
        crowd.disturb(gateway)
        for (const person of random.shuffle(crowd.people).slice(0, Math.ceil(size.sessions / 10))) {
          person.here = !person.here
          if (person.here) crowd.comeBack(person)
          else crowd.goAway(person)
        }
        if (kill) {
          await bed.stack.kill(`gateway-${gateway}`)
          await bed.stack.start(`gateway-${gateway}`)
        } else {
          // Its people may be called offline meanwhile: to the others a gateway that stands still is a dead one.
          crowd.disturb(gateway, Number.POSITIVE_INFINITY)
          bed.stack.pause(`gateway-${gateway}`)
          await delay(random.int(...size.pauseMs))
          bed.stack.resume(`gateway-${gateway}`)
        }
        crowd.disturb(gateway)
        if (!(await comesTrue(() => crowd.settled(), 30_000)))
          faults.push(`round ${round}: not all came back`)
        const begun = performance.now()
        let difference: string[] = []
        const right = async () => {
          difference = await crowd.difference()
          return difference.length === 0
        }
        if (!(await comesTrue(right, 15_000))) {
          faults.push(
            `round ${round}: after 15 s ${difference.length} wrong: ${difference.slice(0, 8).join(', ')}`,
          )
        }
        slowest = Math.max(slowest, performance.now() - begun)
      }
      return {
        faults,
        figures: { sessions: size.sessions, rounds: size.rounds, slowestMs: Math.round(slowest) },
      }
    } finally {
      crowd.close()
    }
  },
}

async function createCrowd(bed: Bed, random: Random, sessions: number, faults: string[]) {
  const prefix = `crowd${random.int(0, 1e9)}`
  const people: Person[] = []
  const byName = new Map<string, Person>()
  /** When a gateway was last in trouble. */
  const disturbed = bed.gatewayUrls.map(() => 0)
  let closed = false

  const isSteady = (person: Person): boolean =>
    person.here &&
    person.devices.some(
      ({ socket, since, gateway }) =>
        socket?.connected === true &&
        performance.now() - Math.max(since, disturbed[gateway] ?? 0) > STEADY_MS,
    )

  async function connect(person: Person, device: Device): Promise<void> {
    while (person.here && !closed) {
      device.gateway = random.int(0, bed.gatewayUrls.length - 1)
      try {
        const socket = await openSocket(bed.gatewayUrls[device.gateway] ?? '', bed.token(person.name))
        socket.on('disconnect', () => {
          if (device.socket !== socket) return
          device.socket = null
          void connect(person, device)
        })
        socket.on('presence:update', ({ participantId, status }) => {
          const subject = byName.get(participantId)
          if (status === 'offline' && subject && isSteady(subject))
            faults.push(`${participantId} called offline`)
        })
        await joinRoom(socket, person.conversationId)
        if (!person.here || closed || !socket.connected) {
          socket.disconnect()
          continue
        }
        device.socket = socket
        device.since = performance.now()
        return
      } catch (error) {
        // A gateway that is away or full: another try, soon.
        if (!(error instanceof Error)) throw error
        await delay(random.int(50, 500))
      }
    }
  }

  const rooms = Math.ceil(sessions / ROOM_SIZE)
  await each(Array(rooms).keys(), 8, async (index) => {
    const names = Array.from({ length: ROOM_SIZE }, (_, who) => `${prefix}-${index}-${who}`)
    const conversationId = await bed.conversation(names)
    for (const name of names) {
      const devices = Array.from({ length: random.next() < 0.1 ? 2 : 1 }, () => ({
        socket: null,
        gateway: 0,
        since: 0,
      }))
      const person = { name, conversationId, devices, here: true }
      people.push(person)
      byName.set(name, person)
    }
  })
  await each(people, 32, async (person) => {
    await Promise.all(person.devices.map((device) => connect(person, device)))
  })

  /** Everyone whom the servers call online. */
  async function listed(): Promise<Set<string>> {
    const names = new Set<string>()
    const gateway = random.pick(bed.gatewayUrls)
    let cursor: string | null = null
    do {
      const query: string = cursor === null ? '' : `&cursor=${encodeURIComponent(cursor)}`
      const response = await fetch(`${gateway}/presence/user?limit=100${query}`, {
        headers: { authorization: `Bearer ${bed.token('admin', ['admin'])}` },
        signal: AbortSignal.timeout(5_000),
      })
      if (!response.ok) throw new Error(`presence: ${response.status} ${await response.text()}`)
      const page = (await response.json()) as {
        data: { id: string; status: string }[]
        page: { nextCursor: string | null; hasMore: boolean }
      }
      for (const { id, status } of page.data) if (status === 'online' && byName.has(id)) names.add(id)
      cursor = page.page.hasMore ? page.page.nextCursor : null
    } while (cursor !== null)
    return names
  }

  return {
    people,
    disturb(gateway: number, at = performance.now()) {
      disturbed[gateway] = at
    },
    goAway(person: Person) {
      for (const device of person.devices) {
        const socket = device.socket
        device.socket = null
        socket?.disconnect()
      }
    },
    comeBack(person: Person) {
      for (const device of person.devices) if (!device.socket) void connect(person, device)
    },
    settled: () =>
      people.every(({ here, devices }) => !here || devices.every(({ socket }) => socket?.connected === true)),
    /** People whose presence is not what it should be. */
    async difference(): Promise<string[]> {
      const online = await listed()
      return people
        .filter(({ name, here }) => online.has(name) !== here)
        .map(({ name, here }) => `${name} ${here ? 'wrongly offline' : 'a ghost'}`)
    },
    close() {
      closed = true
      for (const { devices } of people) for (const { socket } of devices) socket?.disconnect()
    },
  }
}
