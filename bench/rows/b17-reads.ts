import { inPairs } from '../harness/measure.ts'
import type { Row } from '../harness/report.ts'
import { fillConversation } from '../harness/seed.ts'
import { medianMs, startSolo } from '../harness/solo.ts'

const MESSAGES = 100_000

/** The reads that look at a whole conversation. */
export const row: Row = {
  id: 'B17',
  title: 'statistics, search and context over 10^5 messages',
  async *run() {
    const solo = await startSolo()
    try {
      const id = await solo.conversation()
      await fillConversation(solo.stack.mongodbUri, id, MESSAGES)
      const statistics = await medianMs(9, () => solo.get(`/messages/conversation/${id}/statistics`))
      yield {
        name: 'statistics',
        figure: { median: statistics, low: statistics, high: statistics },
        unit: 'ms',
        bar: { atMost: 300 },
      }
      // The first searches find the index behind and bring it on, a second each.
      const started = performance.now()
      for (let turn = 0; turn < 120; turn++) {
        const asked = performance.now()
        await solo.get(`/messages/conversation/${id}/search?q=refund`)
        if (performance.now() - asked < 500) break
      }
      const indexing = (performance.now() - started) / 1_000
      for (const q of ['refund', 'invoice%20friday', 'nowhere']) {
        const search = await medianMs(15, () => solo.get(`/messages/conversation/${id}/search?q=${q}`))
        yield {
          name: `search for "${decodeURIComponent(q)}"`,
          figure: { median: search, low: search, high: search },
          unit: 'ms',
          bar: { atMost: 100 },
          note: `indexing took ${indexing.toFixed(0)} s`,
        }
      }
      const more = await inPairs(
        () => medianMs(25, () => solo.get(`/conversations/${id}/context`)),
        () => medianMs(25, () => solo.get(`/messages/conversation/${id}`)),
      )
      const extra = more.parley.median - more.rival.median
      yield {
        name: 'context, more than list 50',
        figure: { median: extra, low: extra, high: extra },
        unit: 'ms',
        bar: { atMost: 15 },
        note: `${more.parley.median.toFixed(1)} ms to ${more.rival.median.toFixed(1)} ms`,
      }
    } finally {
      await solo.close()
    }
  },
}
