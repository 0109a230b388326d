import { createParley } from '@parley/client'
import { Redis } from 'ioredis'
import { MongoClient, ObjectId } from 'mongodb'
import { cpuMs, inPairs, percentile, spread } from '../harness/measure.ts'
import type { Row } from '../harness/report.ts'
import { startSolo } from '../harness/solo.ts'

const TIMES = 20
/** Milliseconds between two messages: what is done behind a message is over before the next, on either side. */
const PAUSE_MS = 150

/** From POST to the socket of somebody else, on an idle system. */
export const row: Row = {
  id: 'B3',
  title: 'POST sent → received on a gateway, idle',
  async *run() {
    const solo = await startSolo({ gateways: 2 })
    const { stack } = solo
    const mongo = await new MongoClient(stack.mongodbUri, {
      readConcern: { level: 'majority' },
      writeConcern: { w: 'majority', journal: true },
    }).connect()
    const [publisher, subscriber] = [new Redis(stack.redisUrl), new Redis(stack.redisUrl)]
    const listener = createParley({
      apiUrl: stack.apiUrl,
      gatewayUrls: stack.gatewayUrls.slice(1),
      token: stack.token({ sub: 'listener', type: 'user', orgId: 'bench', expiresIn: 7_200 }),
    })
    try {
      const id = await solo.conversation()
      await solo.http.call(
        'POST',
        `/conversations/${id}/participants`,
        solo.token,
        { type: 'user', id: 'listener' },
        201,
      )
      const room = listener.conversation(id)
      const arrivals = new Map<string, () => void>()
      room.on('message:new', ({ content }) => arrivals.get(content)?.())
      await room.join({})

      await subscriber.subscribe('rival')
      subscriber.on('message', (_channel, content) => arrivals.get(content)?.())
      const heads = mongo.db().collection('rivalConversations')
      const rows = mongo.db().collection('rivalMessages')
      const cid = new ObjectId()
      await heads.insertOne({ _id: cid, status: 'active' })
      let seq = 0

      const services = ['api-0', 'gateway-0', 'gateway-1'].map((name) => stack.pids[name] ?? 0)
      const cpuUs: number[] = []
      const measured = async (send: (content: string) => Promise<unknown>): Promise<number> => {
        const taken: number[] = []
        for (let turn = 0; turn < TIMES; turn++) {
          await new Promise((resolve) => setTimeout(resolve, PAUSE_MS))
          const content = `${Math.random()}`
          const arrived = new Promise<void>((resolve) => arrivals.set(content, resolve))
          const asked = performance.now()
          await Promise.all([send(content), arrived])
          taken.push(performance.now() - asked)
          arrivals.delete(content)
        }
        return percentile(taken, 0.5)
      }
      const { ratio, parley, rival } = await inPairs(
        async () => {
          const cpu = cpuMs(services)
          const taken = await measured((content) => solo.send(id, content))
          cpuUs.push(((cpuMs(services) - cpu) * 1_000) / TIMES)
          return taken
        },
        () =>
          measured(async (content) => {
            await heads.findOne({ _id: cid })
            await rows.insertOne({
              cid,
              seq: ++seq,
              author: 'user:solo',
              role: 'user',
              content,
              createdAt: new Date(),
            })
            await publisher.publish('rival', content)
          }),
      )
      yield {
        name: 'p50, to find + insertOne + publish',
        figure: ratio,
        bar: { atMost: 1.6 },
        note: `${parley.median.toFixed(1)} ms to ${rival.median.toFixed(1)} ms; ${spread(cpuUs).median.toFixed(0)} µs of api and gateways each`,
      }
    } finally {
      await listener.close()
      publisher.disconnect()
      subscriber.disconnect()
      await mongo.close()
      await solo.close()
    }
  },
}
