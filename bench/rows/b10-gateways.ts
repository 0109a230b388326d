import { once } from 'node:events'
import { GATEWAY_FLAGS, startStack } from '@parley/devstack'
import { Redis } from 'ioredis'
import WebSocket from 'ws'
import { ORG } from '../harness/chats.ts'
import { UNLIMITED } from '../harness/crowd.ts'
import { createHttpClient } from '../harness/load.ts'
import { cpuMs, inPairs } from '../harness/measure.ts'
import { each, openRawClient, type RawClient, reached } from '../harness/raw-client.ts'
import type { Row } from '../harness/report.ts'
import { startRival } from '../harness/rival.ts'
import { createStreamWriter, messageJson, paced, randomId, TEXT } from '../harness/stream.ts'

const ROOM = 1_000
/** Messages per second, and how many: at half a core for one gateway, and at most of one. */
const PACES: readonly Pace[] = [
  { rate: 40, count: 80 },
  { rate: 80, count: 160 },
]
/** Now and then; takes longer than all else here, so only in full. */
const SELDOM: Pace = { rate: 10, count: 100 }
/**
 * Messages that each system gets before anything is counted, once all are open. A gateway of four sees a quarter of the
 * sockets, so its code would otherwise be compiled later than that of the one it is held against; and whichever was
 * opened first, and waited for the other, would do its housekeeping while it is measured: that alone made 0.2 of a
 * ratio.
 */
const WARM_UP: Pace = { rate: 80, count: 800 }
/** How many gateways share the room. */
const SIZES = [2, 4]

/**
 * Processor time of all gateways together for a delivery to a room of 1,000, as they become more; and of bare loops
 * that send what they read from a stream to as many sockets: what the machine makes of one process that becomes
 * several.
 */
export const row: Row = {
  id: 'B10',
  title: 'gateway CPU per delivery as gateways are added',
  async *run({ full }) {
    const paces = full ? [SELDOM, ...PACES] : PACES
    for (const size of SIZES) {
      for await (const { pace, ratio, parley, rival } of compare(
        paces,
        () => share(size),
        () => share(1),
      )) {
        yield {
          name: `${size} gateways to 1, room of ${ROOM}, ${pace.rate}/s`,
          figure: ratio,
          bar: { atMost: 1.1 },
          note: `${parley.median.toFixed(1)} to ${rival.median.toFixed(1)} µs each`,
        }
      }
    }
    const stack = await startStack({ gateways: 0, workers: 0 })
    try {
      for await (const { pace, ratio, parley, rival } of compare(
        paces,
        () => loops(4, stack.redisUrl),
        () => loops(1, stack.redisUrl),
      )) {
        yield {
          name: `4 bare loops that read a stream to 1, ${ROOM} sockets, ${pace.rate}/s`,
          figure: ratio,
          note: `${parley.median.toFixed(1)} to ${rival.median.toFixed(1)} µs each`,
        }
      }
    } finally {
      await stack.close()
    }
  },
}

interface Pace {
  rate: number
  count: number
}
/** The listeners to what some processes send. */
interface Audience {
  pids: number[]
  /** Frames that reached it so far. */
  delivered(): number
  /** Puts one message into the stream. */
  write(): Promise<void>
  close(): Promise<void>
}
async function sendTo({ write, delivered }: Audience, { rate, count }: Pace): Promise<void> {
  const before = delivered()
  await paced(rate, (count * 1_000) / rate, write)
  await reached(delivered, before + count * ROOM)
}

/**
 * At each pace, microseconds for a delivery by many processes and by one. Each has a system of its own, so that none
 * reads along for another, and nobody else is about.
 */
async function* compare(
  paces: readonly Pace[],
  openMany: () => Promise<Audience>,
  openOne: () => Promise<Audience>,
) {
  const opened: Audience[] = []
  const open = async (make: () => Promise<Audience>): Promise<Audience> => {
    const audience = await make()
    opened.push(audience)
    return audience
  }
  try {
    const [many, one] = [await open(openMany), await open(openOne)]
    for (const audience of [many, one, one, many]) await sendTo(audience, WARM_UP)
    for (const pace of paces) {
      const cpuOf = async (audience: Audience): Promise<number> => {
        const cpu = cpuMs(audience.pids)
        await sendTo(audience, pace)
        return ((cpuMs(audience.pids) - cpu) * 1_000) / (pace.count * ROOM)
      }
      const figures = await inPairs(
        () => cpuOf(many),
        () => cpuOf(one),
      )
      yield { pace, ...figures }
    }
  } finally {
    for (const audience of opened) await audience.close()
  }
}

/** So many bare loops that share the sockets of a room. */
async function loops(count: number, redisUrl: string): Promise<Audience> {
  const redis = new Redis(redisUrl)
  const stream = `loops:${count}`
  const env = { REDIS_URL: redisUrl, STREAM: stream }
  const rivals = await Promise.all(
    Array.from({ length: count }, () => startRival('ws-loop', env, GATEWAY_FLAGS)),
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
  const frame = `42/chat,["message:new",${messageJson(randomId(), 1, TEXT).slice(0, -1)},"prevSeq":0}]`
  return {
    pids: rivals.map(({ pid }) => pid),
    delivered: () => received,
    async write() {
      await redis.xadd(stream, 'MAXLEN', '~', 1_000, '*', 'frame', frame)
    },
    async close() {
      for (const client of clients) client.terminate()
      for (const rival of rivals) await rival.close()
      await redis.quit()
    },
  }
}

/** A room whose sockets are spread evenly over so many gateways. */
async function share(gateways: number): Promise<Audience> {
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
    pids: Array.from({ length: gateways }, (_, index) => stack.pids[`gateway-${index}`] ?? 0),
    delivered: () => clients.reduce((sum, { received }) => sum + received, 0),
    write: () => writer.write(id, TEXT),
    async close() {
      for (const client of clients) client.close()
      writer.close()
      await stack.close()
    },
  }
}
