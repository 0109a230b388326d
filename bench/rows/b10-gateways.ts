import { type Stack, startStack } from '@parley/devstack'
import { ORG } from '../harness/chats.ts'
import { UNLIMITED } from '../harness/crowd.ts'
import { createHttpClient, type HttpClient } from '../harness/load.ts'
import { cpuMs, inPairs } from '../harness/measure.ts'
import { each, openRawClient, type RawClient, reached } from '../harness/raw-client.ts'
import type { Row } from '../harness/report.ts'
import { createStreamWriter, paced, TEXT } from '../harness/stream.ts'

const ROOM = 1_000
const PER_SECOND = 10
const WINDOW_MS = 4_000
/** How many gateways share a room. Each room has gateways of its own, so that none carries another's sockets. */
const SIZES = [1, 2, 4]

/** Processor time of all gateways together for a delivery to a room of 1,000, as they become more. */
export const row: Row = {
  id: 'B10',
  title: 'gateway CPU per delivery as gateways are added',
  async *run() {
    const stack = await startStack({
      gateways: SIZES.reduce((sum, size) => sum + size, 0),
      workers: 0,
      env: UNLIMITED,
    })
    const http = createHttpClient(stack.apiUrl, 4)
    const writer = createStreamWriter(stack.redisUrl, ORG)
    const rooms: SharedRoom[] = []
    try {
      let first = 0
      for (const size of SIZES) {
        rooms.push(await share(stack, http, first, size))
        first += size
      }
      const cpuOf = async ({ id, pids, clients }: SharedRoom) => {
        const delivered = () => clients.reduce((sum, { received }) => sum + received, 0)
        const before = delivered()
        const cpu = cpuMs(pids)
        const sent = await paced(PER_SECOND, WINDOW_MS, () => writer.write(id, TEXT))
        await reached(delivered, before + sent * ROOM)
        return ((cpuMs(pids) - cpu) * 1_000) / (sent * ROOM)
      }
      const [alone, ...shared] = rooms
      if (!alone) return
      for (const room of shared) {
        const { ratio, parley, rival } = await inPairs(
          () => cpuOf(room),
          () => cpuOf(alone),
        )
        yield {
          name: `${room.pids.length} gateways to 1, room of ${ROOM}, ${PER_SECOND}/s`,
          figure: ratio,
          bar: { atMost: 1.1 },
          note: `${parley.median.toFixed(1)} to ${rival.median.toFixed(1)} µs each`,
        }
      }
    } finally {
      for (const { clients } of rooms) for (const client of clients) client.close()
      writer.close()
      await http.close()
      await stack.close()
    }
  },
}

interface SharedRoom {
  id: string
  /** Of the gateways that its sockets are on. */
  pids: number[]
  clients: RawClient[]
}

/** A room whose sockets are spread evenly over `size` gateways from the `first` on. */
async function share(stack: Stack, http: HttpClient, first: number, size: number): Promise<SharedRoom> {
  const token = stack.token({ sub: 'sender-0', orgId: ORG, expiresIn: 7_200 })
  const { id } = JSON.parse(await http.call('POST', '/conversations', token, {}, 201)) as { id: string }
  const clients: RawClient[] = []
  await each(ROOM, 32, async (index) => {
    const client = await openRawClient(stack.gatewayUrls[first + (index % size)] ?? '', { token })
    clients.push(client)
    const answer = await client.request('conversation:join', { conversationId: id })
    if (!answer.ok) throw new Error(`join refused: ${JSON.stringify(answer.body())}`)
  })
  const pids = Array.from({ length: size }, (_, index) => stack.pids[`gateway-${first + index}`] ?? 0)
  return { id, pids, clients }
}
