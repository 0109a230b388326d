import { createHmac } from 'node:crypto'
import { Queue } from 'bullmq'
import { Redis } from 'ioredis'
import { MongoClient } from 'mongodb'
import { cpuMs, inPairs, percentile, spread } from '../harness/measure.ts'
import type { Cell, Row } from '../harness/report.ts'
import { startRival } from '../harness/rival.ts'
import { type Solo, startSolo } from '../harness/solo.ts'

const CONVERSATIONS = 300
const BUCKET = 10
const CONCURRENCY = 4
const RIVAL_QUEUE = 'rival-summaries'

const LINES = [
  'We agreed to ship the first version on 3 May 2027, unless the tests of the new gateway fail.',
  'My order number is A-4711 and the parcel should go to 27 Lindenweg in Freiburg.',
  'Thanks, that helps a lot!',
  'The budget must not exceed 45,000 euros, and Priya is responsible for it.',
  'Could you explain once more how the discount of 12% is calculated?',
]

/** As the worker signs its calls. */
function serviceToken(secret: string): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const now = Math.floor(Date.now() / 1_000)
  const body = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ sub: 'bench', iss: 'parley', type: 'service', iat: now, exp: now + 7_200 })}`
  return `${body}.${createHmac('sha256', secret).update(body).digest('base64url')}`
}

/** Summary jobs worked off, the extractive way. */
export const row: Row = {
  id: 'B13',
  title: 'summary jobs per second, extractive, to a bare BullMQ worker with the same calls',
  async *run() {
    yield* createLatency()
    const solo = await startSolo({
      workers: 1,
      serviceEnv: {
        worker: { SUMMARY_CONCURRENCY: String(CONCURRENCY) },
        api: { SUMMARY_RECONCILE_MS: '60000' },
      },
    })
    const { stack } = solo
    const mongo = await new MongoClient(stack.mongodbUri, { writeConcern: { w: 'majority' } }).connect()
    const db = mongo.db()
    const redis = new Redis(stack.redisUrl, { maxRetriesPerRequest: null })
    const queues = [
      new Queue('summaries', { connection: redis }),
      new Queue(RIVAL_QUEUE, { connection: redis }),
    ]
    const rival = await startRival('bullmq-worker', {
      REDIS_URL: stack.redisUrl,
      API_URL: stack.apiUrl,
      SERVICE_TOKEN: serviceToken(stack.serviceSecret),
      QUEUE: RIVAL_QUEUE,
      CONCURRENCY: String(CONCURRENCY),
    })
    try {
      const ids: string[] = []
      await Promise.all(
        Array.from({ length: 16 }, async (_, lane) => {
          for (let i = lane; i < CONVERSATIONS; i += 16) {
            const id = await solo.conversation()
            for (let line = 1; line < BUCKET; line++) {
              await solo.send(id, LINES[line % LINES.length] ?? '')
            }
            ids.push(id)
          }
        }),
      )
      const covered = () => db.collection('conversations').countDocuments({ summaryCoversSeq: BUCKET })
      while ((await covered()) < CONVERSATIONS) await new Promise((resolve) => setTimeout(resolve, 100))

      /** All conversations as if none had a summary, a job for each, and then the time to the last. */
      const cpu = { parley: [] as number[], rival: [] as number[] }
      async function drain(queue: Queue | undefined, pid: number, used: number[]): Promise<number> {
        if (!queue) throw new Error('no queue')
        await queue.pause()
        await db.collection('summaries').deleteMany({})
        await db
          .collection('conversations')
          .updateMany(
            {},
            { $set: { summaryCoversSeq: 0, summaryDue: true }, $unset: { summary: 1, summaryContentRev: 1 } },
          )
        await queue.addBulk(
          ids.map((conversationId) => ({
            name: 'summarize',
            data: { orgId: 'bench', conversationId, throughSeq: BUCKET },
            opts: { jobId: `summary-${conversationId}-1`, removeOnComplete: true },
          })),
        )
        const before = cpuMs([pid])
        const started = performance.now()
        await queue.resume()
        while ((await covered()) < CONVERSATIONS) await new Promise((resolve) => setTimeout(resolve, 10))
        const seconds = (performance.now() - started) / 1_000
        used.push((cpuMs([pid]) - before) / CONVERSATIONS)
        return CONVERSATIONS / seconds
      }
      const {
        ratio,
        parley,
        rival: bare,
      } = await inPairs(
        () => drain(queues[0], stack.pids['worker-0'] ?? 0, cpu.parley),
        () => drain(queues[1], rival.pid, cpu.rival),
      )
      yield {
        name: 'jobs per second',
        figure: ratio,
        bar: { atLeast: 0.8 },
        note:
          `${parley.median.toFixed(0)}/s to ${bare.median.toFixed(0)}/s, ` +
          `worker CPU ${spread(cpu.parley).median.toFixed(1)} to ${spread(cpu.rival).median.toFixed(1)} ms a job`,
      }
    } finally {
      await rival.close()
      await Promise.all(queues.map((queue) => queue.close()))
      redis.disconnect()
      await mongo.close()
      await solo.close()
    }
  },
}

/** Conversations that are written to by turns, so that a window of sends crosses many buckets. */
const ROUND = 20
const SENDS = 400
/** Milliseconds between two sends: a machine that is busy with nothing but sends would measure its own queue. */
const PACE_MS = 5

/**
 * What a sender notices of the jobs: the time of a create where every tenth makes one that a worker takes up, to the
 * same where the queue's Redis is away and no job is ever made.
 */
async function* createLatency(): AsyncGenerator<Cell> {
  const queued = await startSolo({ workers: 1 })
  const without = await startSolo({ serviceEnv: { api: { REDIS_QUEUE_URL: 'redis://127.0.0.1:1' } } })
  try {
    const [many, none] = await Promise.all([openChats(queued), openChats(without)])
    const [parley, rival]: [number[], number[]] = [[], []]
    const { ratio } = await inPairs(
      async () => percentile(await sendTimes(queued, many, parley), 0.5),
      async () => percentile(await sendTimes(without, none, rival), 0.5),
      { pairs: 15 },
    )
    yield {
      name: 'p50 of a create, with jobs to without',
      figure: ratio,
      bar: { atMost: 1.05 },
      note: `${percentile(parley, 0.5).toFixed(2)} to ${percentile(rival, 0.5).toFixed(2)} ms; p99 over all ${percentile(parley, 0.99).toFixed(1)} to ${percentile(rival, 0.99).toFixed(1)} ms`,
    }
  } finally {
    await queued.close()
    await without.close()
  }
}

const openChats = (solo: Solo): Promise<string[]> =>
  Promise.all(Array.from({ length: ROUND }, () => solo.conversation()))

async function sendTimes(solo: Solo, chats: readonly string[], all: number[]): Promise<number[]> {
  const times: number[] = []
  for (let turn = 0; turn < SENDS; turn++) {
    const asked = performance.now()
    await solo.send(chats[turn % ROUND] ?? '', LINES[turn % LINES.length] ?? '')
    times.push(performance.now() - asked)
    await new Promise((resolve) => setTimeout(resolve, PACE_MS))
  }
  all.push(...times)
  return times
}
