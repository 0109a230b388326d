import { startStack } from '@parley/devstack'
import { ORG } from '../harness/chats.ts'
import { arrive, createCrowd, depart, ROOM, UNLIMITED } from '../harness/crowd.ts'
import { closedLoop, createHttpClient } from '../harness/load.ts'
import { cpuMs, inPairs, settled } from '../harness/measure.ts'
import type { Row } from '../harness/report.ts'

/** As on a gateway that has run for a while: so many rounds later its code, and the api's, is compiled. */
const WARM_UPS = 3
/** Milliseconds between coming and being cut off. */
const QUIET_MS = 1_000

/** Clients that lose their connections, come back at once and resume, against some that only come back. */
export const row: Row = {
  id: 'B11',
  title: 'reconnect and resume',
  async *run({ full }) {
    const people = full ? 5_000 : 600
    const stack = await startStack({ workers: 0, env: { ...UNLIMITED, RATE_LIMIT_SEND: '0' } })
    const http = createHttpClient(stack.apiUrl, 16)
    try {
      const crowd = await createCrowd(stack, people)
      // Ten messages to catch up with in every conversation.
      let turn = 0
      await closedLoop(16, 60_000, async () => {
        const conversation = turn++ % Math.ceil(people / ROOM)
        if (turn > people) throw new Done()
        const person = conversation * ROOM
        const body = { conversationId: crowd.idOf(person), role: 'user', content: 'while you were away' }
        await http.call('POST', '/messages', crowd.tokens[person] ?? '', body, 201)
      }).catch((error: unknown) => {
        if (!(error instanceof Done)) throw error
      })
      let refused = 0
      const cpuUs = { resume: [] as number[], plain: [] as number[] }
      const url = stack.gatewayUrls[0] ?? ''
      const services = ['api-0', 'gateway-0'].map((name) => stack.pids[name] ?? 0)
      const perSecond = async (resume: boolean) => {
        const come = (afterSeq?: number) =>
          arrive(url, crowd, people, { width: 128, join: resume, afterSeq, onRefused: () => refused++ })
        const lost = await come()
        await new Promise((resolve) => setTimeout(resolve, QUIET_MS))
        const begun = performance.now()
        const cpu = cpuMs(services)
        for (const client of lost) client.close()
        const clients = await come(0)
        const rate = (people * 1_000) / (performance.now() - begun)
        cpuUs[resume ? 'resume' : 'plain'].push(((cpuMs(services) - cpu) * 1_000) / people)
        await depart(clients)
        return rate
      }
      const { ratio, parley, rival } = await inPairs(
        () => perSecond(true),
        () => perSecond(false),
        { warmUps: WARM_UPS },
      )
      yield {
        name: `${people} clients of ${ORG}, ten messages each`,
        figure: ratio,
        bar: { atLeast: 0.6 },
        note: `${parley.median.toFixed(0)}/s to ${rival.median.toFixed(0)}/s, ${settled(cpuUs.resume, WARM_UPS).toFixed(0)} to ${settled(cpuUs.plain, WARM_UPS).toFixed(0)} µs of api and gateway each; ${refused} were sent away for a moment`,
      }
    } finally {
      await http.close()
      await stack.close()
    }
  },
}

class Done extends Error {}
