import { GATEWAY_FLAGS, startStack } from '@parley/devstack'
import { arrive, createCrowd, UNLIMITED } from '../harness/crowd.ts'
import { residentBytes, spread } from '../harness/measure.ts'
import type { Row } from '../harness/report.ts'
import { startRival } from '../harness/rival.ts'

/** Milliseconds that a heap is left alone before it is measured. */
const SETTLE_MS = 5_000
/** Pairs; each needs a heap of its own on either side, so that fewer are taken unless all the time is given. */
const PAIRS = { full: 7, short: 3 }

/** Memory of an idle connection that has joined one conversation of ten; both with a gateway's flags of Node. */
export const row: Row = {
  id: 'B4',
  title: 'memory per idle joined connection',
  async *run({ full }) {
    const people = full ? 10_000 : 5_000
    const own: number[] = []
    const theirs: number[] = []
    for (let pair = 0; pair < (full ? PAIRS.full : PAIRS.short); pair++) {
      const stack = await startStack({ workers: 0, env: UNLIMITED })
      try {
        const crowd = await createCrowd(stack, people)
        const gateway = async () => {
          const url = stack.gatewayUrls[0] ?? ''
          own.push(await perConnection(stack.pids['gateway-0'] ?? 0, () => arrive(url, crowd, people)))
        }
        const bare = async () => {
          const rival = await startRival('bare-socketio', { JWT_SECRET: stack.jwtSecret }, GATEWAY_FLAGS)
          const url = `http://127.0.0.1:${rival.port}`
          theirs.push(await perConnection(rival.pid, () => arrive(url, crowd, people)))
          await rival.close()
        }
        for (const measure of pair % 2 === 0 ? [gateway, bare] : [bare, gateway]) await measure()
      } finally {
        await stack.close()
      }
    }
    yield {
      name: `${people} connections, to bare Socket.IO`,
      figure: spread(own.map((bytes, index) => bytes / (theirs[index] ?? Number.NaN))),
      bar: { atMost: 1.25 },
    }
    yield {
      name: `${people} connections`,
      figure: spread(own.map((bytes) => bytes / 1_024)),
      unit: 'KiB',
      bar: { atMost: 30 },
      note: `bare Socket.IO ${(spread(theirs).median / 1_024).toFixed(1)} KiB`,
    }
  },
}

async function perConnection(pid: number, connect: () => Promise<{ close(): void }[]>): Promise<number> {
  await settled()
  const before = residentBytes(pid)
  const clients = await connect()
  await settled()
  const bytes = (residentBytes(pid) - before) / clients.length
  for (const client of clients) client.close()
  return bytes
}

const settled = () => new Promise((resolve) => setTimeout(resolve, SETTLE_MS))
