import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { ORG } from '../harness/chats.ts'
import { spread } from '../harness/measure.ts'
import { each, openRawClient, type RawClient } from '../harness/raw-client.ts'
import type { Row } from '../harness/report.ts'
import { startSolo } from '../harness/solo.ts'

const CONNECTIONS = 5_000
const ROOM_SIZE = 50
const WINDOW_MS = 6_000
const WINDOWS = 7
/** What keeping one key per person alive with a refresh every 20 s would take. */
const HEARTBEATS_PER_MINUTE = 3
/** Connections of a gateway over which presence travels. */
const NAMES = ['gateway', 'gateway-bus']

/** Redis commands that presence takes while nobody comes or goes, counted by Redis's own MONITOR. */
export const row: Row = {
  id: 'B12',
  title: 'presence: Redis commands per connection and minute',
  async *run() {
    const { stack, http, close } = await startSolo({ gateways: 1 })
    const redis = new Redis(stack.redisUrl)
    const clients: RawClient[] = []
    try {
      const gatewayUrl = stack.gatewayUrls[0] ?? ''
      const token = (sub: string) => stack.token({ sub, type: 'user', orgId: ORG, expiresIn: 7_200 })
      await each(CONNECTIONS / ROOM_SIZE, 8, async (room) => {
        const names = Array.from({ length: ROOM_SIZE }, (_, i) => `person-${room}-${i}`)
        const participants = names.slice(1).map((id) => ({ type: 'user', id }))
        const made = await http.call('POST', '/conversations', token(names[0] ?? ''), { participants }, 201)
        const { id: conversationId } = JSON.parse(made) as { id: string }
        for (const name of names) {
          const client = await admitted(gatewayUrl, token(name))
          const answer = await client.request('conversation:join', { conversationId })
          if (!answer.ok) throw new Error(`join refused: ${JSON.stringify(answer.body())}`)
          clients.push(client)
        }
      })
      // What coming in left to do is done by then.
      await delay(5_000)
      const addresses = await addressesOf(redis)
      let commands = 0
      const monitor = await redis.monitor()
      monitor.on('monitor', (_time: string, _args: string[], source: string) => {
        if (addresses.has(source)) commands++
      })
      const perMinute: number[] = []
      for (let window = 0; window < WINDOWS; window++) {
        const before = commands
        await delay(WINDOW_MS)
        perMinute.push(((commands - before) * 60_000) / WINDOW_MS / clients.length)
      }
      monitor.disconnect()
      const open = clients.filter(({ ws }) => ws.readyState === ws.OPEN).length
      const rate = spread(perMinute)
      const ratio = spread(perMinute.map((figure) => figure / HEARTBEATS_PER_MINUTE))
      yield {
        name: `${open} connections in rooms of ${ROOM_SIZE}, to a heartbeat of 20 s each`,
        figure: ratio,
        bar: { atMost: 0.05 },
        note: `${rate.median.toPrecision(2)} commands per connection and minute`,
      }
    } finally {
      for (const client of clients) client.close()
      redis.disconnect()
      await close()
    }
  },
}

/** A gateway under a storm of newcomers asks some to come back. */
async function admitted(url: string, token: string): Promise<RawClient> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await openRawClient(url, { token })
    } catch (error) {
      if (attempt === 20) throw error
      await delay(200 + Math.random() * 800)
    }
  }
}

async function addressesOf(redis: Redis): Promise<Set<string>> {
  const list = String(await redis.call('CLIENT', 'LIST'))
  const found = list.split('\n').flatMap((line) => {
    const name = / name=(\S*)/.exec(line)?.[1] ?? ''
    const address = / addr=(\S+)/.exec(line)?.[1]
    return NAMES.includes(name) && address ? [address] : []
  })
  if (found.length < NAMES.length) throw new Error('the connections of the gateway were not found')
  return new Set(found)
}
