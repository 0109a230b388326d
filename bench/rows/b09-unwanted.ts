import { GATEWAY_FLAGS, startStack } from '@parley/devstack'
import { cpuMs, inPairs } from '../harness/measure.ts'
import type { Row } from '../harness/report.ts'
import { startRival } from '../harness/rival.ts'
import { createStreamWriter, paced, randomId, TEXT } from '../harness/stream.ts'

const WINDOW_MS = 2_000
const BATCH = 100
const BATCHES_PER_SECOND = 60

/** Processor time of a gateway for events that nobody on it wants, against a loop of XREAD. */
export const row: Row = {
  id: 'B9',
  title: 'tail of events nobody here wants',
  async *run() {
    const stack = await startStack({ workers: 0 })
    const rival = await startRival('xread-loop', { REDIS_URL: stack.redisUrl }, GATEWAY_FLAGS)
    const writer = createStreamWriter(stack.redisUrl, 'somewhere-else')
    const conversations = Array.from({ length: BATCH }, randomId)
    // Both read the same entries at the same time: each figure is of the same work.
    const cpuOf = async (pid: number) => {
      const before = cpuMs([pid])
      const batches = await paced(BATCHES_PER_SECOND, WINDOW_MS, () => writer.writeAll(conversations, TEXT))
      await new Promise((resolve) => setTimeout(resolve, 200))
      return ((cpuMs([pid]) - before) * 1_000) / (batches * BATCH)
    }
    try {
      const {
        ratio,
        parley,
        rival: theirs,
      } = await inPairs(
        () => cpuOf(stack.pids['gateway-0'] ?? 0),
        () => cpuOf(rival.pid),
      )
      yield {
        name: `${BATCH * BATCHES_PER_SECOND} events per second over four partitions`,
        figure: ratio,
        bar: { atMost: 1.2 },
        note: `${parley.median.toFixed(1)} to ${theirs.median.toFixed(1)} µs each`,
      }
    } finally {
      writer.close()
      await rival.close()
      await stack.close()
    }
  },
}
