import type {
  InternalBody,
  InternalPath,
  InternalResult,
  InternalSummaryReadResult,
  InternalSummaryWrite,
  SummaryJob,
} from '@parley/contract'
import { SUMMARY_QUEUE, summaryJobId, summaryLeaseKey } from '@parley/contract'
import { closeRedis, connectRedis, createLogger, createRegistry } from '@parley/service-kit'
import { Queue, Worker } from 'bullmq'
import type { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, expect, inject, test, vi } from 'vitest'
import { createWorkerMetrics } from '../metrics.ts'
import { createSummarise } from '../summarise.ts'
import { workOf } from '../testing/work.ts'
import { createConsumer } from './consumer.ts'
import { type ConversationSummaries, summariseConversation } from './conversation.ts'
import { createLeases } from './lease.ts'

/** The database of the shared server that only this file uses. */
const DATABASE = 7
const LOCK_MS = 1_000

const registry = createRegistry('worker')
const metrics = createWorkerMetrics(registry)
const logger = createLogger({ name: 'test', level: 'silent' })
const summarise = createSummarise({ length: 2_000, logger, metrics })
let redis: Redis
let queue: Queue
const opened: (() => Promise<unknown>)[] = []

beforeAll(async () => {
  redis = connectRedis(`${inject('redisUrl')}/${DATABASE}`, { name: 'jobs-test', kind: 'waiting' })
  await redis.flushdb()
  queue = new Queue(SUMMARY_QUEUE, { connection: redis })
})
afterEach(async () => {
  for (const close of opened.splice(0)) await close()
  await redis.flushdb()
})
afterAll(async () => {
  await queue.close()
  await closeRedis(redis)
})

/** The api's side of one conversation per id: buckets up to `full`, each stored once by compare-and-set. */
function fakeApi(full: Record<string, number>) {
  const covers = new Map<string, number>()
  const effects: string[] = []
  const api = {
    waiting: false,
    broken: 0,
    effects,
    reads: 0,
    async internal<P extends InternalPath>(path: P, body: InternalBody<P>): Promise<InternalResult<P>> {
      if (api.broken > 0) {
        api.broken--
        throw new Error('the api is away')
      }
      const { conversationId } = body as { conversationId: string }
      const at = covers.get(conversationId) ?? 0
      if (path.endsWith('/read')) {
        api.reads++
        return read(conversationId, at) as never
      }
      const write = body as InternalSummaryWrite
      if (write.coversSeq !== at) return { applied: false } as never
      covers.set(conversationId, write.throughSeq)
      effects.push(`${conversationId} ${write.throughSeq}`)
      return { applied: true } as never
    },
  }
  function read(conversationId: string, at: number): InternalSummaryReadResult {
    if (api.waiting) return { state: 'waiting' }
    if (at >= (full[conversationId] ?? 0)) return { state: 'current' }
    return workOf(['We agreed on 3 May.'], { coversSeq: at, previousSeq: at, throughSeq: at + 10 })
  }
  return api
}

function startConsumer(
  api: ReturnType<typeof fakeApi>,
  around: (
    run: () => ReturnType<typeof summariseConversation>,
  ) => ReturnType<typeof summariseConversation> = (run) => run(),
) {
  const stopping = new AbortController()
  const connection = connectRedis(`${inject('redisUrl')}/${DATABASE}`, { name: 'consumer', kind: 'waiting' })
  const deps: ConversationSummaries = { api, summarise, metrics, signal: stopping.signal }
  const consumer = createConsumer({
    redis: connection,
    leases: createLeases(connection, LOCK_MS),
    concurrency: 4,
    lockMs: LOCK_MS,
    run: (conversationId) => around(() => summariseConversation(conversationId, deps)),
    logger,
    metrics,
  })
  consumer.start()
  opened.push(async () => {
    stopping.abort()
    await consumer.close()
    await closeRedis(connection)
  })
}

const id = (n: number): string => n.toString(16).padStart(24, '0')
const add = (n: number, bucket: number, attempts = 1) => {
  const job: SummaryJob = { orgId: 'acme', conversationId: id(n), throughSeq: bucket * 10 }
  return queue.add('summarize', job, { jobId: summaryJobId(id(n), bucket), attempts, removeOnComplete: true })
}
const jobsLeft = async () =>
  Object.values(await queue.getJobCounts('waiting', 'active', 'delayed', 'failed', 'completed')).reduce(
    (a, b) => a + b,
  )

test('two workers, a job for each bucket, in any order: one effect each, in order, and no job stays', async () => {
  const api = fakeApi({ [id(1)]: 50, [id(2)]: 30 })
  startConsumer(api)
  startConsumer(api)
  await Promise.all([5, 1, 3, 2, 4].map((bucket) => add(1, bucket)))
  await Promise.all([2, 3, 1].map((bucket) => add(2, bucket)))
  await expect.poll(jobsLeft).toBe(0)
  expect(api.effects.filter((effect) => effect.startsWith(id(1)))).toEqual(
    [10, 20, 30, 40, 50].map((seq) => `${id(1)} ${seq}`),
  )
  expect(api.effects).toHaveLength(8)
})

test('a conversation that somebody else works on is left alone, then looked at again', async () => {
  const api = fakeApi({ [id(3)]: 10 })
  await redis.set(summaryLeaseKey(id(3)), 'somebody')
  startConsumer(api)
  await add(3, 1)
  await expect.poll(() => queue.getDelayedCount()).toBe(1)
  expect(api.reads).toBe(0)
  await redis.del(summaryLeaseKey(id(3)))
  await expect.poll(() => api.effects).toEqual([`${id(3)} 10`])
})

test('a message that is not final makes the job wait, not fail', async () => {
  const api = fakeApi({ [id(4)]: 10 })
  api.waiting = true
  startConsumer(api)
  await add(4, 1)
  await expect.poll(() => api.reads).toBeGreaterThan(1)
  expect(await queue.getFailedCount()).toBe(0)
  api.waiting = false
  await expect.poll(() => api.effects).toEqual([`${id(4)} 10`])
})

test('a job that fails is kept with its reason, and works when it is tried again', async () => {
  const api = fakeApi({ [id(5)]: 10 })
  api.broken = 1
  startConsumer(api)
  await add(5, 1)
  await expect.poll(() => queue.getFailedCount()).toBe(1)
  const [job] = await queue.getFailed()
  expect(job?.failedReason).toBe('the api is away')
  await job?.retry()
  await expect.poll(() => api.effects).toEqual([`${id(5)} 10`])
  await expect.poll(jobsLeft).toBe(0)
})

test('a worker that froze holding a job: another takes it over, and its late write counts for nothing', async () => {
  const api = fakeApi({ [id(6)]: 10 })
  const { promise: thaw, resolve: thawNow } = Promise.withResolvers<void>()
  const frozen = await queue.add(
    'summarize',
    { orgId: 'acme', conversationId: id(6), throughSeq: 10 },
    { jobId: summaryJobId(id(6), 1), removeOnComplete: true },
  )
  // Taken by a worker that shows no sign of life from then on.
  const dead = new Worker(SUMMARY_QUEUE, null, { connection: redis, autorun: false, lockDuration: LOCK_MS })
  const taken = await dead.getNextJob('dead-worker')
  expect(taken?.id).toBe(frozen.id)
  const late = api.internal('/internal/summaries/read', { conversationId: id(6) }).then(async (work) => {
    await thaw
    if (work.state !== 'ready') throw new Error('expected work')
    const summary = await summarise(work, new AbortController().signal)
    return api.internal('/internal/summaries/write', {
      conversationId: id(6),
      coversSeq: work.coversSeq,
      contentRev: work.contentRev,
      throughSeq: work.throughSeq,
      previousSeq: work.previousSeq,
      ...summary,
    })
  })
  startConsumer(api)
  await expect.poll(() => api.effects).toEqual([`${id(6)} 10`])
  thawNow()
  expect(await late).toEqual({ applied: false })
  expect(api.effects).toHaveLength(1)
  await dead.close()
})

test('a job with an invalid payload fails for good and harms nothing', async () => {
  const api = fakeApi({ [id(7)]: 10 })
  startConsumer(api)
  await queue.add('summarize', { conversationId: 'nonsense' }, { jobId: 'summary-x-1' })
  await add(7, 1)
  await expect.poll(() => api.effects).toEqual([`${id(7)} 10`])
  await expect.poll(() => queue.getFailedCount()).toBe(1)
})

test('a lease that is kept alive outlives its time, also where once that fails, and is given back', async () => {
  const leases = createLeases(redis, 2_000)
  vi.spyOn(redis, 'summaryLease').mockRejectedValueOnce(new Error('Redis is away'))
  const { promise: done, resolve } = Promise.withResolvers<void>()
  const first = leases.run(id(8), () => done)
  await expect.poll(() => redis.exists(summaryLeaseKey(id(8)))).toBe(1)
  const until = performance.now() + 2_500
  await expect.poll(() => performance.now() > until).toBe(true)
  expect(await leases.run(id(8), async () => 'mine')).toBeUndefined()
  resolve()
  await first
  expect(await leases.run(id(8), async () => 'mine')).toBe('mine')
})

test('a lease that was lost to another is left to them', async () => {
  const key = summaryLeaseKey('lost')
  await createLeases(redis, 60_000).run('lost', () => redis.set(key, 'another'))
  expect(await redis.get(key)).toBe('another')
})

test('any number of buckets is done in one run, unless this worker has to end: then it says that there is more', async () => {
  const api = fakeApi({ [id(10)]: 150, [id(11)]: 30 })
  const stopping = new AbortController()
  const deps = { api, summarise, metrics, signal: stopping.signal }
  expect(await summariseConversation(id(10), deps)).toBe('current')
  expect(api.effects).toHaveLength(15)
  const last: ConversationSummaries['summarise'] = (...work) => {
    stopping.abort()
    return summarise(...work)
  }
  expect(await summariseConversation(id(11), { ...deps, summarise: last })).toBe('stopped')
  expect(api.effects).toHaveLength(16)
})

test('a worker that is always overtaken leaves it to a later attempt', async () => {
  const api = fakeApi({ [id(12)]: 10 })
  const overtaken: ConversationSummaries['api'] = {
    async internal(path, body) {
      if (api.reads > 10) throw new Error('asked on and on')
      return path.endsWith('/write') ? ({ applied: false } as never) : api.internal(path, body)
    },
  }
  const { signal } = new AbortController()
  await expect(summariseConversation(id(12), { api: overtaken, summarise, metrics, signal })).rejects.toThrow(
    '10 times in a row',
  )
  expect(api.reads).toBe(10)
})
