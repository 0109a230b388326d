import { setTimeout as delay } from 'node:timers/promises'
import { ORG } from '../harness/chats.ts'
import { cpuMs, percentile, spread } from '../harness/measure.ts'
import { each, openRawClient, type RawClient } from '../harness/raw-client.ts'
import type { Row } from '../harness/report.ts'
import { startSolo } from '../harness/solo.ts'

const STREAMS = 200
const TOKENS_PER_SECOND = 50
const TOKEN = 'word '
const WINDOW_MS = 2_000
const WINDOWS = 7

interface Answer {
  agent: RawClient
  messageId: string
  sent: number
  /** When each token went out, by its number. */
  at: number[]
  /** Letters that each listener has. */
  heard: number[]
}

/** From a token's departure at the agent to its arrival at a listener, on the agent's gateway and on another. */
export const row: Row = {
  id: 'B15',
  title: `${STREAMS} streams of ${TOKENS_PER_SECOND} tokens/s, a listener each on two gateways`,
  async *run() {
    const { stack, http, close } = await startSolo({ gateways: 2 })
    const clients: RawClient[] = []
    try {
      const answers: Answer[] = []
      const latencies: number[] = []
      await each(STREAMS, 16, async (index) => {
        answers.push(await openAnswer(index))
      })

      async function openAnswer(index: number): Promise<Answer> {
        const ids = { agent: `agent-${index}`, here: `here-${index}`, there: `there-${index}` }
        const person = (sub: string) => stack.token({ sub, orgId: ORG, expiresIn: 7_200 })
        const body = { agentId: ids.agent, participants: [{ type: 'user', id: ids.there }] }
        const made = await http.call('POST', '/conversations', person(ids.here), body, 201)
        const { id: conversationId } = JSON.parse(made) as { id: string }
        const connect = async (token: string, gateway: number) => {
          const client = await openRawClient(stack.gatewayUrls[gateway] ?? '', { token })
          clients.push(client)
          return client
        }
        const agentToken = stack.token({ sub: ids.agent, type: 'agent', orgId: ORG, expiresIn: 7_200 })
        const agent = await connect(agentToken, index % 2)
        const listeners = [await connect(person(ids.here), 0), await connect(person(ids.there), 1)]
        for (const listener of listeners) await listener.request('conversation:join', { conversationId })
        const start = { op: 'start', conversationId, clientMessageId: 'bench' }
        const started = await agent.request('message:stream', start)
        if (!started.ok) throw new Error('a stream was not started')
        const messageId = String(started.body().messageId)
        const answer: Answer = { agent, messageId, sent: 0, at: [], heard: [0, 0] }
        listeners.forEach((listener, which) => {
          listener.onFrame((frame) => take(answer, which, frame))
        })
        return answer
      }

      function take(answer: Answer, which: number, frame: Buffer): void {
        const [, index, text] = /"index":(\d+),"text":"([^"]*)"/.exec(frame.toString('latin1')) ?? []
        if (text === undefined) return
        const before = answer.heard[which] ?? 0
        if (Number(index) !== before)
          throw new Error(`a listener has ${before} letters and is told of ${index}`)
        const now = performance.now()
        answer.heard[which] = before + text.length
        for (let token = before / TOKEN.length; token < (before + text.length) / TOKEN.length; token++) {
          latencies.push(now - (answer.at[token] ?? now))
        }
      }

      async function stream(ms: number): Promise<void> {
        const begun = performance.now()
        const base = answers.map(({ sent }) => sent)
        for (;;) {
          const elapsed = performance.now() - begun
          if (elapsed >= ms) return
          answers.forEach((answer, index) => {
            // Each stream has its own beat, so that tokens do not leave in bursts.
            const due =
              (base[index] ?? 0) + Math.floor((elapsed * TOKENS_PER_SECOND) / 1_000 + index / STREAMS)
            for (; answer.sent < due; answer.sent++) {
              answer.at.push(performance.now())
              answer.agent.ws.send(
                `42/chat,["message:stream",{"op":"delta","messageId":"${answer.messageId}","index":${answer.sent * TOKEN.length},"text":"${TOKEN}"}]`,
              )
            }
          })
          await delay(2)
        }
      }

      await stream(WINDOW_MS)
      const slowest: number[] = []
      const middle: number[] = []
      const pids = ['gateway-0', 'gateway-1'].map((name) => stack.pids[name] ?? 0)
      const cpu = cpuMs(pids)
      const counted = answers.reduce((sum, { sent }) => sum + sent, 0)
      for (let window = 0; window < WINDOWS; window++) {
        latencies.length = 0
        await stream(WINDOW_MS)
        slowest.push(percentile(latencies, 0.99))
        middle.push(percentile(latencies, 0.5))
      }
      const tokens = answers.reduce((sum, { sent }) => sum + sent, 0) - counted
      const perToken = ((cpuMs(pids) - cpu) * 1_000) / tokens
      const whole = () =>
        answers.every(({ sent, heard }) => heard.every((letters) => letters === sent * TOKEN.length))
      for (const end = performance.now() + 10_000; !whole() && performance.now() < end; ) await delay(20)
      if (!whole()) throw new Error('listeners lack letters')
      const rate = tokens / ((WINDOW_MS * WINDOWS) / 1_000)
      yield {
        name: 'p99 from token to listener',
        unit: 'ms',
        figure: spread(slowest),
        bar: { atMost: 250 },
        note: `p50 ${spread(middle).median.toFixed(0)} ms; ${rate.toFixed(0)} tokens/s; ${perToken.toFixed(0)} µs of gateway CPU per token`,
      }
    } finally {
      for (const client of clients) client.close()
      await close()
    }
  },
}
