import { startStack } from '@parley/devstack'
import { Redis } from 'ioredis'
import { ORG } from '../harness/chats.ts'
import { createHttpClient } from '../harness/load.ts'
import { cpuMs, percentile, spread } from '../harness/measure.ts'
import { openRawClient } from '../harness/raw-client.ts'
import type { Row } from '../harness/report.ts'
import { createStreamWriter, paced } from '../harness/stream.ts'

const PER_SECOND = 300
const WINDOW_MS = 2_000
const PAIRS = 7

/**
 * Milliseconds from an event on the stream to a client of each of two gateways, against one hop of pub/sub to two
 * subscribers: on either side two connections of this process hear it.
 */
export const row: Row = {
  id: 'B2',
  title: 'stream event to client',
  async *run() {
    const stack = await startStack({ gateways: 2, workers: 0 })
    const http = createHttpClient(stack.apiUrl, 4)
    const writer = createStreamWriter(stack.redisUrl, ORG)
    const subscribers = stack.gatewayUrls.map(() => new Redis(stack.redisUrl))
    const token = stack.token({ sub: 'sender-0', orgId: ORG, expiresIn: 7_200 })
    try {
      const { id } = JSON.parse(await http.call('POST', '/conversations', token, {}, 201)) as { id: string }
      let times: number[] = []
      const took = (stamp: string | undefined) => {
        if (stamp !== undefined) times.push(performance.now() - Number(stamp))
      }
      for (const url of stack.gatewayUrls) {
        const client = await openRawClient(url, { token })
        const answer = await client.request('conversation:join', { conversationId: id })
        if (!answer.ok) throw new Error('join refused')
        client.onFrame((frame) => took(/"content":"([\d.]+)"/.exec(frame.toString())?.[1]))
      }
      for (const subscriber of subscribers) {
        await subscriber.subscribe('hop')
        subscriber.on('message', (_channel: string, stamp: string) => took(stamp))
      }
      const gateways = stack.gatewayUrls.map((_, index) => stack.pids[`gateway-${index}`] ?? 0)
      const measure = async (tick: () => Promise<unknown>) => {
        times = []
        const cpu = cpuMs(gateways)
        const events = await paced(PER_SECOND, WINDOW_MS, async () => {
          await tick()
        })
        await new Promise((resolve) => setTimeout(resolve, 200))
        const cpuUs = ((cpuMs(gateways) - cpu) * 1_000) / events
        return { p50: percentile(times, 0.5), p99: percentile(times, 0.99), cpuUs }
      }
      const stamp = () => String(performance.now())
      const parley = () => measure(() => writer.writeStamped(id, stamp))
      const bare = () => measure(() => writer.redis.publish('hop', stamp()))
      await parley()
      await bare()
      const own: Awaited<ReturnType<typeof measure>>[] = []
      const theirs: typeof own = []
      for (let pair = 0; pair < PAIRS; pair++) {
        if (pair % 2 === 0) own.push(await parley())
        theirs.push(await bare())
        if (pair % 2 === 1) own.push(await parley())
      }
      const cpuUs = spread(own.map((one) => one.cpuUs)).median
      for (const [share, limit] of [
        ['p50', 2.5],
        ['p99', 3],
      ] as const) {
        const median = (side: typeof own) => spread(side.map((one) => one[share])).median
        yield {
          name: `${share} at ${PER_SECOND} per second, two gateways`,
          figure: spread(own.map((one, index) => one[share] / (theirs[index]?.[share] ?? Number.NaN))),
          bar: { atMost: limit },
          note: `${median(own).toFixed(2)} to ${median(theirs).toFixed(2)} ms; ${cpuUs.toFixed(0)} µs of both gateways each`,
        }
      }
    } finally {
      for (const subscriber of subscribers) subscriber.disconnect()
      writer.close()
      await http.close()
      await stack.close()
    }
  },
}
