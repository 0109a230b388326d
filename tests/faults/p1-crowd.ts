import { setTimeout as delay } from 'node:timers/promises'
import { type Online, type ParticipantRef, ParticipantType, participantKey } from '@parley/contract'
import type { Socket } from 'socket.io-client'
import type { Random } from '../support/random.ts'
import { openSocket } from '../support/socket.ts'
import { each } from '../support/until.ts'
import type { Bed } from './bed.ts'

/** Connected for this long, on gateways that are well: whoever is then called offline is so wrongly. */
const STEADY_MS = 5_000
const ROOM_SIZE = 20
/** Of each room. */
const AGENTS = 2

export interface CrowdSize {
  sessions: number
  /** Milliseconds after which whoever was cut off is back at the latest. */
  lateMs: number
}
interface Person {
  /** `user:<id>` or `agent:<id>`. */
  key: string
  conversationId: string
  devices: Device[]
  /** Whether they want to be there. */
  here: boolean
}
interface Device {
  socket: Socket | null
  gateway: number
  since: number
  /** Who is in the room, by what its socket was told on joining and since. */
  told: Set<string>
}
/** What the servers report in one place about who is there, and about whom. */
interface Look {
  where: string
  people: readonly Person[]
  shown: ReadonlySet<string>
}
export interface Difference {
  ghost: boolean
  text: string
}

/**
 * People and agents in rooms of twenty, some with two devices, who come back on another gateway when they are cut off.
 */
export async function createCrowd(
  bed: Bed,
  random: Random,
  { sessions, lateMs }: CrowdSize,
  faults: string[],
) {
  const prefix = `crowd${random.int(0, 1e9)}`
  const rooms = new Map<string, Person[]>()
  const byKey = new Map<string, Person>()
  /** When a gateway was last in trouble; infinite: it is now. */
  const disturbed = bed.gatewayUrls.map(() => 0)
  let closed = false

  const isWell = (gateway: number) => disturbed[gateway] !== Number.POSITIVE_INFINITY
  const isSteady = ({ here, devices }: Person): boolean =>
    here &&
    devices.some(
      ({ socket, since, gateway }) =>
        socket?.connected === true &&
        performance.now() - Math.max(since, disturbed[gateway] ?? 0) > STEADY_MS,
    )

  function hear(socket: Socket, told: Set<string>): void {
    const keyOf = (event: { participantType: ParticipantRef['type']; participantId: string }) =>
      participantKey({ type: event.participantType, id: event.participantId })
    const goes = (key: string, what: string) => {
      const person = byKey.get(key)
      if (person && isSteady(person)) faults.push(`${key} ${what}`)
    }
    socket.on('presence:update', (event) => {
      if (event.status === 'offline') goes(keyOf(event), 'called offline')
    })
    socket.on('user:joined', (event) => told.add(keyOf(event)))
    socket.on('user:left', (event) => {
      told.delete(keyOf(event))
      goes(keyOf(event), 'said to have left the room')
    })
  }

  /** Some at once, others about when the lease of a dead gateway ends or after. */
  async function comeBack(person: Person, device: Device): Promise<void> {
    if (random.next() < 0.5) await delay(random.int(0, lateMs))
    await connect(person, device)
  }

  async function connect(person: Person, device: Device): Promise<void> {
    while (person.here && !closed) {
      device.gateway = random.int(0, bed.gatewayUrls.length - 1)
      try {
        const told = new Set<string>()
        const socket = await openSocket(bed.gatewayUrls[device.gateway] ?? '', bed.token(person.key))
        socket.on('disconnect', () => {
          if (device.socket !== socket) return
          device.socket = null
          void comeBack(person, device)
        })
        hear(socket, told)
        await enter(socket, person.conversationId, told)
        if (!person.here || closed || !socket.connected) {
          socket.disconnect()
          continue
        }
        Object.assign(device, { socket, told, since: performance.now() })
        return
      } catch (error) {
        // A gateway that is away or full: another try, soon.
        if (!(error instanceof Error)) throw error
        await delay(random.int(50, 500))
      }
    }
  }

  await each(Array(Math.ceil(sessions / ROOM_SIZE)).keys(), 8, async (index) => {
    const keys = Array.from({ length: ROOM_SIZE }, (_, who) => {
      const type = who < ROOM_SIZE - AGENTS ? 'user' : 'agent'
      return participantKey({ type, id: `${prefix}-${index}-${who}` })
    })
    const conversationId = await bed.conversation(keys)
    const people = keys.map((key): Person => {
      const devices = Array.from(
        { length: random.next() < 0.1 ? 2 : 1 },
        (): Device => ({ socket: null, gateway: 0, since: 0, told: new Set() }),
      )
      return { key, conversationId, devices, here: true }
    })
    rooms.set(conversationId, people)
    for (const person of people) byKey.set(person.key, person)
  })
  const people = [...byKey.values()]
  await each(people, 32, async (person) => {
    await Promise.all(person.devices.map((device) => connect(person, device)))
  })

  /** Everyone whom a gateway lists as online. */
  async function listed(gateway: number): Promise<Look> {
    const shown = new Set<string>()
    for (const type of ParticipantType.options) {
      let cursor: string | null = null
      do {
        const query: string = cursor === null ? '' : `&cursor=${encodeURIComponent(cursor)}`
        const response = await fetch(`${bed.gatewayUrls[gateway]}/presence/${type}?limit=100${query}`, {
          headers: { authorization: `Bearer ${bed.token('admin', ['admin'])}` },
          signal: AbortSignal.timeout(5_000),
        })
        if (!response.ok) throw new Error(`presence: ${response.status} ${await response.text()}`)
        const page = (await response.json()) as {
          data: { id: string; status: string }[]
          page: { nextCursor: string | null; hasMore: boolean }
        }
        for (const { id, status } of page.data)
          if (status === 'online') shown.add(participantKey({ type, id }))
        cursor = page.page.hasMore ? page.page.nextCursor : null
      } while (cursor !== null)
    }
    return { where: `in the list of gateway-${gateway}`, people, shown }
  }

  /** Whom each well gateway calls present in a room, asked by somebody who is in it there; and what all were told. */
  async function seenIn(conversationId: string, inRoom: Person[]): Promise<Look[]> {
    const devices = inRoom.flatMap(({ devices }) => devices).filter(({ gateway }) => isWell(gateway))
    const present = devices.flatMap(({ socket, gateway, told }) =>
      socket?.connected ? [{ socket, gateway, told }] : [],
    )
    const askers = new Map(present.map(({ gateway, socket }) => [gateway, socket]))
    const answers = [...askers].map(async ([gateway, socket]): Promise<Look> => {
      const answer = await socket.timeout(5_000).emitWithAck('conversation:online', { conversationId })
      if (!answer.ok) throw new Error(`conversation:online: ${answer.error.code}`)
      return { where: `in a room on gateway-${gateway}`, people: inRoom, shown: new Set(keysOf(answer)) }
    })
    const told = present.map(({ gateway, told }) => ({
      where: `by what a socket on gateway-${gateway} was told`,
      people: inRoom,
      shown: told,
    }))
    return [...(await Promise.all(answers)), ...told]
  }

  return {
    people,
    /** From now on no answer is expected of it, and nobody is steady on it. */
    begin(gateway: number) {
      disturbed[gateway] = Number.POSITIVE_INFINITY
    },
    end(gateway: number) {
      disturbed[gateway] = performance.now()
    },
    turn(person: Person) {
      person.here = !person.here
      for (const device of person.devices) {
        if (person.here) {
          if (!device.socket) void connect(person, device)
          continue
        }
        const { socket } = device
        device.socket = null
        socket?.disconnect()
      }
    },
    settled: () =>
      people.every(({ here, devices }) => !here || devices.every(({ socket }) => socket?.connected === true)),
    /** Where gateways that are well say of anybody what is not so: in their lists and in the rooms. */
    async differences(): Promise<Difference[]> {
      const gateways = [...bed.gatewayUrls.keys()].filter(isWell)
      const looks = await Promise.all([
        ...gateways.map(listed),
        ...[...rooms].map(([id, inRoom]) => seenIn(id, inRoom)),
      ])
      return looks.flat().flatMap(({ where, people, shown }) =>
        people
          .filter(({ key, here }) => shown.has(key) !== here)
          .map(({ key, here }) => ({
            ghost: !here,
            text: `${key} ${here ? 'wrongly offline' : 'a ghost'} ${where}`,
          })),
      )
    },
    close() {
      closed = true
      for (const { devices } of people) for (const { socket } of devices) socket?.disconnect()
    },
  }
}

const keysOf = ({ users, agents }: Online): string[] => [
  ...users.map((id) => participantKey({ type: 'user', id })),
  ...agents.map((id) => participantKey({ type: 'agent', id })),
]

/** By callback: a promise would go on a moment later, after comings and goings that came in the same breath. */
function enter(socket: Socket, conversationId: string, told: Set<string>): Promise<void> {
  return new Promise((resolve, reject) => {
    socket
      .timeout(20_000)
      .emit('conversation:join', { conversationId }, (error: Error | null, answer: JoinAnswer) => {
        if (error) reject(error)
        else if (!answer.ok) reject(new Error(`join refused: ${answer.error.code}`))
        else {
          for (const key of keysOf(answer.online)) told.add(key)
          resolve()
        }
      })
  })
}
type JoinAnswer = { ok: true; online: Online } | { ok: false; error: { code: string } }
