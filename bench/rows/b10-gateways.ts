import { once } from 'node:events'
import { GATEWAY_FLAGS, startStack } from '@parley/devstack'
import WebSocket from 'ws'
import { ORG } from '../harness/chats.ts'
import { UNLIMITED } from '../harness/crowd.ts'
import { createHttpClient } from '../harness/load.ts'
import { cpuMs, inPairs } from '../harness/measure.ts'
import { each, openRawClient, type RawClient, reached } from '../harness/raw-client.ts'
import type { Row } from '../harness/report.ts'
import { type Rival, startRival } from '../harness/rival.ts'
import { createStreamWriter, messageJson, paced, randomId, TEXT } from '../harness/stream.ts'

const ROOM = 1_000
/** Messages per second, and how many: now and then, at a third of a core for one gateway, and at most of one. */
const PACES: Pace[] = [
  { rate: 10, count: 40 },
  { rate: 40, count: 80 },
  { rate: 80, count: 160 },
]
/** How many gateways share a room, each time in a system of its own: nobody here reads along for another. */
const SIZES = [1, 2, 4]

/**
 * Processor time of all gateways together for a delivery to a room of 1,000, as they become more; and of bare loops over
 * as many sockets, which read no streams: what the machine makes of one process that becomes several.
 */
export const row: Row = {
  id: 'B10',
  title: 'gateway CPU per delivery as gateways are added',
  async *run() {
    const rooms: SharedRoom[] = []
    const bare: Loops[] = []
    try {
      for (const size of SIZES) rooms.push(await share(size))
      const [alone, ...shared] = rooms
      if (!alone) return
      for (const pace of PACES) {
        for (const room of shared) {
          const { ratio, parley, rival } = await compare(room, alone, pace, publish)
          yield {
            name: `${room.pids.length} gateways to 1, room of ${ROOM}, ${pace.rate}/s`,
            figure: ratio,
            bar: { atMost: 1.1 },
            note: `${parley.median.toFixed(1)} to ${rival.median.toFixed(1)} µs each`,
          }
        }
      }
      const [one, four] = [await loops(1), await loops(4)]
      bare.push(one, four)
      for (const pace of PACES) {
        const { ratio, parley, rival } = await compare(four, one, pace, loop)
        yield {
          name: `4 bare loops to 1, ${ROOM} sockets, ${pace.rate}/s`,
          figure: ratio,
          note: `${parley.median.toFixed(1)} to ${rival.median.toFixed(1)} µs each`,
        }
      }
    } finally {
      for (const { clients, rivals } of bare) {
        for (const client of clients) client.terminate()
        for (const rival of rivals) await rival.close()
      }
      for (const room of rooms) await room.close()
    }
  },
}

interface Pace {
  rate: number
  count: number
}
/** Who hears what some processes send. */
interface Audience {
  id: string
  pids: number[]
  /** Frames that reached it so far. */
  delivered(): number
}
interface SharedRoom extends Audience {
  writer: ReturnType<typeof createStreamWriter>
  close(): Promise<void>
}
interface Loops extends Audience {
  rivals: Rival[]
  clients: WebSocket[]
}
type Send<A extends Audience> = (audience: A, pace: Pace) => Promise<void>

/** Microseconds for a delivery by the processes of the one, and by those of the other. */
function compare<A extends Audience>(many: A, few: A, pace: Pace, send: Send<A>) {
  const cpuOf = async (audience: A): Promise<number> => {
    const before = audience.delivered()
    const cpu = cpuMs(audience.pids)
    await send(audience, pace)
    await reached(audience.delivered, before + pace.count * ROOM)
    return ((cpuMs(audience.pids) - cpu) * 1_000) / (pace.count * ROOM)
  }
  return inPairs(
    () => cpuOf(many),
    () => cpuOf(few),
  )
}

/** So many bare loops that share the sockets of a room. */
async function loops(count: number): Promise<Loops> {
  const rivals = await Promise.all(
    Array.from({ length: count }, () => startRival('ws-loop', {}, GATEWAY_FLAGS)),
  )
  const clients: WebSocket[] = []
  let received = 0
  await each(ROOM, 32, async (index) => {
    const port = rivals[index % count]?.port ?? 0
    const client = new WebSocket(`ws://127.0.0.1:${port}`, { perMessageDeflate: false })
    clients.push(client)
    client.on('message', () => received++)
    await once(client, 'open')
  })
  return { id: randomId(), rivals, clients, pids: rivals.map(({ pid }) => pid), delivered: () => received }
}

const loop: Send<Loops> = async ({ id, rivals }, { rate, count }) => {
  const frame = `42/chat,["message:new",${messageJson(id, 1, TEXT).slice(0, -1)},"prevSeq":0}]`
  const order = { method: 'POST', body: frame }
  await Promise.all(
    rivals.map(async ({ port }) => {
      const answer = await fetch(`http://127.0.0.1:${port}/send?n=${count}&rate=${rate}`, order)
      await answer.text()
    }),
  )
}

/** A room whose sockets are spread evenly over so many gateways. */
async function share(gateways: number): Promise<SharedRoom> {
  const stack = await startStack({ gateways, workers: 0, env: UNLIMITED })
  const http = createHttpClient(stack.apiUrl, 4)
  const writer = createStreamWriter(stack.redisUrl, ORG)
  const clients: RawClient[] = []
  const token = stack.token({ sub: 'sender-0', orgId: ORG, expiresIn: 7_200 })
  const { id } = JSON.parse(await http.call('POST', '/conversations', token, {}, 201)) as { id: string }
  await http.close()
  await each(ROOM, 32, async (index) => {
    const client = await openRawClient(stack.gatewayUrls[index % gateways] ?? '', { token })
    clients.push(client)
    const answer = await client.request('conversation:join', { conversationId: id })
    if (!answer.ok) throw new Error(`join refused: ${JSON.stringify(answer.body())}`)
  })
  return {
    id,
    writer,
    pids: Array.from({ length: gateways }, (_, index) => stack.pids[`gateway-${index}`] ?? 0),
    delivered: () => clients.reduce((sum, { received }) => sum + received, 0),
    async close() {
      for (const client of clients) client.close()
      writer.close()
      await stack.close()
    },
  }
}

const publish: Send<SharedRoom> = async ({ id, writer }, { rate, count }) => {
  await paced(rate, (count * 1_000) / rate, () => writer.write(id, TEXT))
}
