import { GATEWAY_FLAGS, startStack } from '@parley/devstack'
import { arrive, createCrowd, depart, UNLIMITED } from '../harness/crowd.ts'
import { cpuMs, inPairs, settled } from '../harness/measure.ts'
import type { Row } from '../harness/report.ts'
import { startRival } from '../harness/rival.ts'

/** In one go: with a fifth of them, what either did was over in 0.2 s, and runs differed by half. */
const PEOPLE = 3_000
/** Pairs: on machines that others use as well, seven put the median anywhere within a fifth. */
const PAIRS = { full: 21, short: 7 }
const WARM_UPS = 2

/** Connects per second, the token checked, against bare Socket.IO that checks it too. */
export const row: Row = {
  id: 'B5',
  title: 'connects per second',
  async *run({ full }) {
    const stack = await startStack({ workers: 0, env: UNLIMITED })
    const rival = await startRival('bare-socketio', { JWT_SECRET: stack.jwtSecret }, GATEWAY_FLAGS)
    try {
      const crowd = await createCrowd(stack, PEOPLE)
      const cpuUs = { parley: [] as number[], rival: [] as number[] }
      const connects = async (side: 'parley' | 'rival', url: string, pid: number) => {
        const begun = performance.now()
        const before = cpuMs([pid])
        const clients = await arrive(url, crowd, PEOPLE, { width: 32, join: false })
        const perSecond = (PEOPLE * 1_000) / (performance.now() - begun)
        cpuUs[side].push(((cpuMs([pid]) - before) * 1_000) / PEOPLE)
        await depart(clients)
        return perSecond
      }
      const {
        ratio,
        parley,
        rival: theirs,
      } = await inPairs(
        () => connects('parley', stack.gatewayUrls[0] ?? '', stack.pids['gateway-0'] ?? 0),
        () => connects('rival', `http://127.0.0.1:${rival.port}`, rival.pid),
        { warmUps: WARM_UPS, pairs: full ? PAIRS.full : PAIRS.short },
      )
      yield {
        name: `${PEOPLE} connects, 32 at a time`,
        figure: ratio,
        bar: { atLeast: 0.75 },
        note: `${parley.median.toFixed(0)}/s to ${theirs.median.toFixed(0)}/s, ${settled(cpuUs.parley, WARM_UPS).toFixed(0)} to ${settled(cpuUs.rival, WARM_UPS).toFixed(0)} µs of its process each`,
      }
    } finally {
      await rival.close()
      await stack.close()
    }
  },
}
