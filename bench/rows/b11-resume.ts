import { startStack } from '@parley/devstack'
import { ORG } from '../harness/chats.ts'
import { arrive, createCrowd, depart, ROOM, UNLIMITED } from '../harness/crowd.ts'
import { closedLoop, createHttpClient } from '../harness/load.ts'
import { cpuMs, inPairs } from '../harness/measure.ts'
import type { Row } from '../harness/report.ts'

/** Clients that come back and resume, against clients that only connect. */
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
      const cpuUs = { resume: 0, plain: 0 }
      const services = ['api-0', 'gateway-0'].map((name) => stack.pids[name] ?? 0)
      const perSecond = async (resume: boolean) => {
        const begun = performance.now()
        const cpu = cpuMs(services)
        const clients = await arrive(stack.gatewayUrls[0] ?? '', crowd, people, {
          width: 128,
          join: resume,
          afterSeq: 0,
          onRefused: () => refused++,
        })
        const rate = (people * 1_000) / (performance.now() - begun)
        cpuUs[resume ? 'resume' : 'plain'] = ((cpuMs(services) - cpu) * 1_000) / people
        await depart(clients)
        return rate
      }
      const { ratio, parley, rival } = await inPairs(
        () => perSecond(true),
        () => perSecond(false),
        // As on a gateway that has run for a while: so many rounds later its code, and the api's, is compiled.
        { warmUps: 3 },
      )
      yield {
        name: `${people} clients of ${ORG}, ten messages each`,
        figure: ratio,
        bar: { atLeast: 0.6 },
        note: `${parley.median.toFixed(0)}/s to ${rival.median.toFixed(0)}/s, ${cpuUs.resume.toFixed(0)} to ${cpuUs.plain.toFixed(0)} µs of api and gateway each; ${refused} were sent away for a moment`,
      }
    } finally {
      await http.close()
      await stack.close()
    }
  },
}

class Done extends Error {}
