import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { startSlowModel } from '../support/slow-model.ts'
import { comesTrue, each } from '../support/until.ts'
import { type Bed, startBed } from './bed.ts'
import type { Row } from './row.ts'

const LOCK_MS = 1_000
const MODEL_MS = 150
const BUCKET = 10
const PERSON = 'writer'

export interface SummaryBed extends Bed {
  modelCalls(): number
}

/** Two workers with short locks, and a model that takes its time, so that what dies dies at work. */
export async function startSummaryBed(): Promise<SummaryBed> {
  const model = await startSlowModel(MODEL_MS)
  const bed = await startBed({
    apis: 1,
    gateways: 0,
    workers: 2,
    env: {
      SUMMARY_LOCK_MS: String(LOCK_MS),
      SUMMARY_RECONCILE_MS: '1000',
      SUMMARY_MODEL_URL: model.url,
      SUMMARY_MODEL: 'slow',
    },
  })
  return {
    ...bed,
    modelCalls: model.calls,
    async close() {
      await bed.close()
      await model.close()
    },
  }
}

interface Head {
  summaryCoversSeq: number
  changeSeq: number
}
interface AuditPage {
  data: { action: string; after: { summaryCoversSeq?: number } }[]
}

export interface R9Size {
  conversations: number
  /** Summaries of each. */
  buckets: number
  /** Workers killed or paused. */
  faults: number
  /** Times that Redis loses everything. */
  wipes: number
}

export const r9: Row<R9Size, SummaryBed> = {
  name: 'R9',
  title: 'summary jobs while workers are killed and paused past their locks, and Redis is wiped',
  short: { conversations: 12, buckets: 3, faults: 4, wipes: 1 },
  full: (minutes) => {
    const faults = Math.min(100, Math.max(4, Math.floor(minutes * 15)))
    return { conversations: 10 * Math.ceil(faults / 10), buckets: 10, faults, wipes: Math.ceil(faults / 25) }
  },
  async run(bed, { random, size, log }) {
    const { stack } = bed
    const http = bed.http(PERSON)
    const ids = await Promise.all(
      Array.from({ length: size.conversations }, () => bed.conversation([PERSON])),
    )

    /** Fills one more bucket of a conversation, which makes one job. */
    async function fill(id: string, bucket: number): Promise<void> {
      for (let i = 1; i <= BUCKET; i++) {
        const number = bucket * BUCKET + i
        await http.sure('POST', '/messages', {
          conversationId: id,
          role: 'user',
          content: `Item ${number} was agreed on ${1 + (number % 28)} May.`,
          clientMessageId: `m-${number}`,
        })
      }
    }

    async function hurt(worker: string): Promise<void> {
      await delay(random.int(0, 600))
      if (random.next() < 0.5) {
        await stack.kill(worker)
        await stack.start(worker)
      } else {
        stack.pause(worker)
        await delay(random.int(LOCK_MS, 3 * LOCK_MS))
        stack.resume(worker)
      }
    }

    async function wipe(): Promise<void> {
      const redis = new Redis(stack.redisUrl)
      await redis.flushall()
      redis.disconnect()
    }

    const jobs = Array.from({ length: size.buckets }, (_, bucket) => ids.map((id) => ({ id, bucket })))
      // Bucket by bucket, since a conversation's messages have an order.
      .flatMap((round) => random.shuffle(round))
    const perFault = Math.ceil(jobs.length / size.faults)
    const wipeEvery = Math.ceil(size.faults / size.wipes)
    for (let fault = 0; fault < size.faults; fault++) {
      const now = jobs.slice(fault * perFault, (fault + 1) * perFault)
      const worker = random.pick(['worker-0', 'worker-1'])
      await Promise.all([
        each(now, 16, ({ id, bucket }) => fill(id, bucket)),
        hurt(worker).then(() => (fault % wipeEvery === wipeEvery - 1 ? wipe() : undefined)),
      ])
      log(`${fault + 1} of ${size.faults} faults, ${Math.min(jobs.length, (fault + 1) * perFault)} jobs`)
    }

    const heads = (): Promise<Head[]> =>
      Promise.all(ids.map((id) => http.sure<Head>('GET', `/conversations/${id}`)))
    const isDone = async () =>
      (await heads()).every(({ summaryCoversSeq }) => summaryCoversSeq === size.buckets * BUCKET)
    const calm = performance.now()
    const faults: string[] = []
    if (!(await comesTrue(isDone, 60_000))) faults.push('some summary is still behind after a minute of calm')
    const caughtUpMs = Math.round(performance.now() - calm)

    const wanted = Array.from({ length: size.buckets }, (_, bucket) => (bucket + 1) * BUCKET)
    let effects = 0
    for (const [i, head] of (await heads()).entries()) {
      const { data } = await http.sure<AuditPage>('GET', `/conversations/${ids[i]}/audit?limit=100`)
      const made = data
        .filter(({ action }) => action === 'conversation.summarize')
        .map(({ after }) => after.summaryCoversSeq)
        .reverse()
      effects += made.length
      if (String(made) !== String(wanted)) faults.push(`${ids[i]}: summaries up to ${made}`)
      if (head.changeSeq !== size.buckets) faults.push(`${ids[i]}: ${head.changeSeq} changes`)
    }
    if (effects !== jobs.length) faults.push(`${effects} effects of ${jobs.length} jobs`)
    return {
      faults,
      figures: {
        jobs: jobs.length,
        effects,
        faults: size.faults,
        wipes: size.wipes,
        'model calls': bed.modelCalls(),
        'ms to catch up': caughtUpMs,
      },
    }
  },
}
