import { readFileSync } from 'node:fs'
import { comesTrue, each } from '../support/until.ts'
import { type Bed, startBed } from './bed.ts'
import type { Row } from './row.ts'

const PERSON = 'writer'
const BUCKET = 10
/** What the memory of a process may differ by between a third of the backlog, when all is warm, and the rest of it. */
const GROWTH = 1.25
const WARM = 1 / 3

export const startBacklogBed = (): Promise<Bed> =>
  startBed({
    apis: 1,
    gateways: 0,
    workers: 1,
    env: { SUMMARY_RECONCILE_MS: '2000', SUMMARY_CONCURRENCY: '8' },
  })

/** Bytes that a process holds for itself. */
function residentBytes(pid: number | undefined): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Number(/RssAnon:\s+(\d+) kB/.exec(status)?.[1] ?? Number.NaN) * 1_024
}

/** Jobs that pile up while no worker is there. */
export const backlog: Row<{ jobs: number }, Bed> = {
  name: 'BACKLOG',
  title: 'summary jobs that piled up are worked off at constant memory',
  short: { jobs: 300 },
  full: (minutes) => ({ jobs: Math.min(10_000, Math.max(300, Math.floor(minutes * 1_500))) }),
  async run(bed, { size, log }) {
    const { stack } = bed
    const http = bed.http(PERSON)
    await stack.stop('worker-0')
    const ids: string[] = []
    await each(Array(size.jobs).keys(), 32, async () => {
      const id = await bed.conversation([PERSON])
      for (let i = 1; i <= BUCKET; i++) {
        const content = `Item ${i} of order ${id.slice(-6)} costs $${i * 17} and is due on ${i} May. `.repeat(
          5,
        )
        const body = { conversationId: id, role: 'user', content, clientMessageId: `m-${i}` }
        await http.sure('POST', '/messages', body)
      }
      ids.push(id)
      if (ids.length % 500 === 0) log(`${ids.length} of ${size.jobs} jobs wait`)
    })

    const began = performance.now()
    await stack.start('worker-0')
    const watched = ['worker-0', 'api-0']
    const early = new Map<string, number>()
    const most = new Map<string, number>()
    let done = 0
    const isDone = async (): Promise<boolean> => {
      const next = ids[done]
      if (next !== undefined) {
        const { summaryCoversSeq } = await http.sure<{ summaryCoversSeq: number }>(
          'GET',
          `/conversations/${next}`,
        )
        if (summaryCoversSeq === BUCKET) done++
      }
      for (const name of watched) {
        const bytes = residentBytes(stack.pids[name])
        const isWarm = done >= size.jobs * WARM
        if (isWarm && !early.has(name)) early.set(name, bytes)
        if (isWarm) most.set(name, Math.max(most.get(name) ?? 0, bytes))
      }
      return done === size.jobs
    }
    const all = async () => {
      // In bursts: the list is in the order of the jobs, near enough.
      for (let i = 0; i < 50; i++) if (await isDone()) return true
      return false
    }
    const finished = await comesTrue(all, 60_000 + size.jobs * 100)
    const seconds = (performance.now() - began) / 1_000

    const faults: string[] = []
    if (!finished) faults.push(`${size.jobs - done} of ${size.jobs} jobs were not done`)
    const figures: Record<string, number> = { jobs: done, 'jobs/s': Math.round(done / seconds) }
    for (const name of watched) {
      const [from, to] = [early.get(name) ?? Number.NaN, most.get(name) ?? Number.NaN]
      figures[`MB of ${name}`] = Math.round(to / 1e6)
      if (!(to <= from * GROWTH)) {
        faults.push(`${name} grew from ${Math.round(from / 1e6)} to ${Math.round(to / 1e6)} MB`)
      }
    }
    return { faults, figures }
  },
}
