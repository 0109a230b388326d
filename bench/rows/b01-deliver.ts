import { GATEWAY_FLAGS, startStack } from '@parley/devstack'
import WebSocket from 'ws'
import { ORG } from '../harness/chats.ts'
import { createHttpClient } from '../harness/load.ts'
import { cpuMs, inPairs } from '../harness/measure.ts'
import { each, openRawClient, type RawClient, reached } from '../harness/raw-client.ts'
import type { Row } from '../harness/report.ts'
import { startRival } from '../harness/rival.ts'
import { createStreamWriter, messageJson, paced, TEXT } from '../harness/stream.ts'

const WINDOW_MS = 2_000
const ROOMS = [
  { size: 1, perSecond: 500 },
  { size: 10, perSecond: 400 },
  { size: 100, perSecond: 100 },
  { size: 1_000, perSecond: 10 },
]

/** Processor time of the gateway per delivered message, from the stream on, against a bare loop over websockets. */
export const row: Row = {
  id: 'B1',
  title: 'gateway CPU per delivered message',
  async *run() {
    const stack = await startStack({
      workers: 0,
      env: { RATE_LIMIT_CONNECT: '0', RATE_LIMIT_EVENTS: '0' },
    })
    const http = createHttpClient(stack.apiUrl, 4)
    const writer = createStreamWriter(stack.redisUrl, ORG)
    const token = stack.token({ sub: 'sender-0', orgId: ORG, expiresIn: 7_200 })
    const gatewayPid = stack.pids['gateway-0'] ?? 0
    const gatewayUrl = stack.gatewayUrls[0] ?? ''
    try {
      for (const { size, perSecond } of ROOMS) {
        const made = await http.call('POST', '/conversations', token, {}, 201)
        const { id } = JSON.parse(made) as { id: string }
        const clients: RawClient[] = []
        await each(size, 32, async () => {
          const client = await openRawClient(gatewayUrl, { token })
          const answer = await client.request('conversation:join', { conversationId: id })
          if (!answer.ok) throw new Error(`join refused: ${JSON.stringify(answer.body())}`)
          clients.push(client)
        })
        const rival = await startRival('ws-loop', {}, GATEWAY_FLAGS)
        let others = 0
        const bare: WebSocket[] = []
        await each(size, 32, async () => {
          const ws = new WebSocket(`ws://127.0.0.1:${rival.port}`, { perMessageDeflate: false })
          ws.on('message', () => {
            others++
          })
          await new Promise((resolve, reject) => ws.once('open', resolve).once('error', reject))
          bare.push(ws)
        })
        const delivered = () => clients.reduce((sum, { received }) => sum + received, 0)
        const frame = `42/chat,["message:new",${messageJson(id, 1, TEXT).slice(0, -1)},"prevSeq":0}]`

        const parley = async () => {
          const before = delivered()
          const cpu = cpuMs([gatewayPid])
          const sent = await paced(perSecond, WINDOW_MS, () => writer.write(id, TEXT))
          await reached(delivered, before + sent * size)
          return ((cpuMs([gatewayPid]) - cpu) * 1_000) / (sent * size)
        }
        const bareLoop = async () => {
          const before = others
          const count = (perSecond * WINDOW_MS) / 1_000
          const cpu = cpuMs([rival.pid])
          await fetch(`http://127.0.0.1:${rival.port}/send?n=${count}&rate=${perSecond}`, {
            method: 'POST',
            body: frame,
          })
          await reached(() => others, before + count * size)
          return ((cpuMs([rival.pid]) - cpu) * 1_000) / (count * size)
        }
        const { ratio, parley: own, rival: theirs } = await inPairs(parley, bareLoop)
        yield {
          name: `room of ${size}, ${perSecond}/s`,
          figure: ratio,
          ...(size >= 100 ? { bar: { atMost: 1.5 } } : {}),
          note: `${own.median.toFixed(1)} to ${theirs.median.toFixed(1)} µs each`,
        }
        for (const client of clients) client.close()
        for (const ws of bare) ws.terminate()
        await rival.close()
      }
    } finally {
      writer.close()
      await http.close()
      await stack.close()
    }
  },
}
