import { type Caller, SUMMARY_QUEUE, summaryJobId } from '@parley/contract'
import { closeRedis, connectRedis, redisReady } from '@parley/service-kit'
import { Queue, Worker } from 'bullmq'
import type { Redis } from 'ioredis'
import { ObjectId } from 'mongodb'
import { afterAll, beforeAll, beforeEach, describe, expect, inject, onTestFinished, test, vi } from 'vitest'
import { createAccess } from '../participants/access.ts'
import { createRoles } from '../participants/roles.ts'
import { createSummaryQueue, type SummaryQueue } from './queue.ts'
import { createReconciler } from './reconciler.ts'
import { createSummaryService } from './service.ts'
import { lines, openSummaryWorld, type SummaryWorld } from './testing/world.ts'

/** The database of the shared server that only this file uses. */
const DATABASE = 6
const people = { 'user:ada': 'owner', 'user:bob': 'member', 'user:eve': 'observer' } as const
const logger = { debug: () => {}, warn: () => {}, info: () => {} }
const ada: Caller = { type: 'user', id: 'ada', orgId: 'acme', roles: [], name: null, picture: null }

let world: SummaryWorld
let redis: Redis
let queue: SummaryQueue
let seen: Queue

beforeAll(async () => {
  world = await openSummaryWorld(inject('mongodbUri'))
  redis = connectRedis(`${inject('redisUrl')}/${DATABASE}`, { name: 'queue-test', kind: 'fast' })
  await redisReady(redis, 5_000)
  queue = createSummaryQueue({ redis, logger })
  seen = new Queue(SUMMARY_QUEUE, { connection: redis })
})
beforeEach(async () => {
  await redis.flushdb()
  await world.database.conversations.updateMany({}, { $unset: { summaryDue: 1 } })
})
afterAll(async () => {
  await Promise.all([queue.close(), seen.close()])
  await closeRedis(redis)
  await world.close()
})

const service = (options: { waitMs?: number } = {}) =>
  createSummaryService({
    ...world.database,
    access: createAccess({ ...world.database, roles: createRoles(world.database) }),
    pages: world.process.pages,
    queue,
    ...options,
  })
const reconciler = () => createReconciler({ ...world.database, queue, logger, intervalMs: 60_000 })
const job = (cid: ObjectId, bucket: number | string) => seen.getJob(summaryJobId(cid.toHexString(), bucket))

/** Fails the job of a conversation as an unlucky worker would. */
async function fail(cid: ObjectId): Promise<void> {
  const connection = connectRedis(`${inject('redisUrl')}/${DATABASE}`, { name: 'failing', kind: 'waiting' })
  const worker = new Worker(SUMMARY_QUEUE, null, { connection, autorun: false })
  worker.on('error', () => undefined)
  const taken = await worker.getNextJob('token')
  if (taken?.data.conversationId !== cid.toHexString()) throw new Error('another job was first')
  taken.opts.attempts = 1
  await taken.moveToFailed(new Error('no luck'), 'token')
  await worker.close()
  await closeRedis(connection)
}

describe('jobs', () => {
  test('one for each bucket, however often it is offered', async () => {
    const cid = await world.conversation(people)
    const { due } = service()
    for (let i = 0; i < 5; i++) due({ cid, org: 'acme', settledSeq: 23 })
    await expect.poll(() => seen.getWaitingCount()).toBe(1)
    expect((await job(cid, 2))?.data).toEqual({
      orgId: 'acme',
      conversationId: cid.toHexString(),
      throughSeq: 20,
    })
  })

  test('a failed one is listed with its reason', async () => {
    const cid = await world.conversation(people)
    await queue.addAll([{ orgId: 'acme', conversationId: cid.toHexString(), throughSeq: 10 }])
    await fail(cid)
    expect(await queue.failed(10)).toMatchObject([
      { id: summaryJobId(cid.toHexString(), 1), conversationId: cid.toHexString(), reason: 'no luck' },
    ])
  })
})

describe('the reconciler', () => {
  test('queues what was never queued, or was lost with Redis', async () => {
    const cid = await world.conversation(people)
    await world.say(cid, lines(12))
    expect(await seen.getWaitingCount()).toBe(0)
    expect(await reconciler().reconcile()).toBe(1)
    expect(await job(cid, 1)).toBeDefined()
    await redis.flushdb()
    expect(await reconciler().reconcile()).toBe(1)
    expect(await job(cid, 1)).toBeDefined()
  })

  test('tries failed jobs again, with all their attempts', async () => {
    const cid = await world.conversation(people)
    await world.say(cid, lines(10))
    await reconciler().reconcile()
    await fail(cid)
    expect(await seen.getFailedCount()).toBe(1)
    await reconciler().reconcile()
    expect(await seen.getFailedCount()).toBe(0)
    expect(await job(cid, 1)).toMatchObject({ attemptsMade: 0 })
  })

  test('leaves alone conversations that are up to date', async () => {
    const cid = await world.conversation(people)
    await world.say(cid, lines(10))
    await world.run(cid)
    expect(await reconciler().reconcile()).toBe(0)
    expect(await seen.getWaitingCount()).toBe(0)
  })

  test('runs by itself', async () => {
    const cid = await world.conversation(people)
    await world.say(cid, lines(10))
    const running = createReconciler({ ...world.database, queue, logger, intervalMs: 40 })
    void running.start()
    await expect.poll(() => job(cid, 1)).toBeDefined()
    await running.close()
  })

  test('does one round at a time, however often it is woken, and is closed once that has ended', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    onTestFinished(() => void vi.useRealTimers())
    const ended = Promise.withResolvers<number>()
    const retryFailed = vi.fn(() => ended.promise)
    const running = createReconciler({
      ...world.database,
      queue: { ...queue, retryFailed },
      logger,
      intervalMs: 10_000,
    })
    void running.start()
    await vi.advanceTimersByTimeAsync(10_000)
    for (let n = 0; n < 3; n++) {
      running.wake()
      await vi.advanceTimersByTimeAsync(1_000)
    }
    expect(retryFailed).toHaveBeenCalledTimes(1)
    const onClosed = vi.fn()
    const closing = running.close().then(onClosed)
    await vi.advanceTimersByTimeAsync(1_000)
    expect(onClosed).not.toHaveBeenCalled()
    ended.resolve(0)
    await closing
  })
})

describe('on demand', () => {
  test('covers everything so far, is queued once, and can be waited for', async () => {
    const cid = await world.conversation(people)
    await world.say(cid, lines(13))
    const wanted = await service().request(ada, cid.toHexString())
    await service().request(ada, cid.toHexString())
    await expect.poll(() => seen.getWaitingCount()).toBe(1)
    const waiting = service().wait(wanted, new AbortController().signal)
    expect(await world.run(cid)).toEqual([10, 13])
    expect(await waiting).toEqual({ contextSummary: lines(13).join('; '), summaryCoversSeq: 13 })
    expect(await world.head(cid)).not.toHaveProperty('summaryWantedSeq')
  })

  test('on a full bucket it is the same job as the automatic one', async () => {
    const cid = await world.conversation(people)
    await world.say(cid, lines(10))
    service().due({ cid, org: 'acme', settledSeq: 10 })
    await service().request(ada, cid.toHexString())
    await expect.poll(() => job(cid, 1)).toBeDefined()
    expect(await seen.getWaitingCount()).toBe(1)
  })

  test('what is already covered is answered at once, without a job', async () => {
    const cid = await world.conversation(people)
    await world.say(cid, lines(10))
    await world.run(cid)
    const wanted = await service().request(ada, cid.toHexString())
    expect(await service().wait(wanted, new AbortController().signal)).toMatchObject({ summaryCoversSeq: 10 })
    expect(await seen.getWaitingCount()).toBe(0)
  })

  test('a conversation without messages has nothing to summarise', async () => {
    const cid = await world.conversation(people)
    const wanted = await service().request(ada, cid.toHexString())
    expect(await service().wait(wanted, new AbortController().signal)).toEqual({
      contextSummary: null,
      summaryCoversSeq: 0,
    })
  })

  test('after a delete it waits for the summary without the text', async () => {
    const cid = await world.conversation(people)
    await world.say(cid, lines(10))
    await world.run(cid)
    await world.remove(cid, 4)
    const wanted = await service().request(ada, cid.toHexString())
    const waiting = service().wait(wanted, new AbortController().signal)
    await world.run(cid)
    expect((await waiting)?.contextSummary).not.toContain('line 4')
  })

  test('somebody removed while waiting is told nothing', async () => {
    const cid = await world.conversation(people)
    await world.say(cid, lines(10))
    const wanted = await service().request(ada, cid.toHexString())
    await world.database.participants.deleteOne({ cid, key: 'user:ada' })
    await world.database.conversations.updateOne({ _id: cid }, { $set: { membersRev: new ObjectId() } })
    await world.run(cid)
    const waiting = service().wait(wanted, new AbortController().signal)
    await expect(waiting).rejects.toMatchObject({ code: 'not_found' })
  })

  test('a caller that waits too long, or disconnects, is released', async () => {
    const cid = await world.conversation(people)
    await world.say(cid, lines(3))
    const wanted = await service().request(ada, cid.toHexString())
    expect(await service({ waitMs: 80 }).wait(wanted, new AbortController().signal)).toBeNull()
    expect(await service().wait(wanted, AbortSignal.abort())).toBeNull()
  })

  test('observers may not request one, strangers see nothing', async () => {
    const cid = await world.conversation(people)
    const as = (id: string, orgId = 'acme') => service().request({ ...ada, id, orgId }, cid.toHexString())
    await expect(as('eve')).rejects.toMatchObject({ code: 'forbidden' })
    await expect(as('mallory')).rejects.toMatchObject({ code: 'not_found' })
    await expect(as('ada', 'other')).rejects.toMatchObject({ code: 'not_found' })
  })
})

test('a queue whose Redis starts later works from then on', async () => {
  const cid = await world.conversation(people)
  const wanted = { orgId: 'acme', conversationId: cid.toHexString(), throughSeq: 10 }
  const late = connectRedis(`${inject('redisUrl')}/${DATABASE}`, { name: 'late', kind: 'fast' })
  const early = createSummaryQueue({ redis: late, logger })
  early.offer(wanted)
  await expect(early.addAll([wanted])).rejects.toThrow()
  await redisReady(late, 5_000)
  early.offer(wanted)
  await expect.poll(() => job(cid, 1)).toBeDefined()
  await early.close()
  await closeRedis(late)
})

test('with Redis away nobody waits and nothing fails; due summaries are found once it is back', async () => {
  const nowhere = connectRedis('redis://127.0.0.1:1', { name: 'nowhere', kind: 'fast' })
  const away = createSummaryQueue({ redis: nowhere, logger })
  const cid = await world.conversation(people)
  await world.say(cid, lines(11))
  const summaries = createSummaryService({
    ...world.database,
    access: createAccess({ ...world.database, roles: createRoles(world.database) }),
    pages: world.process.pages,
    queue: away,
  })
  const start = performance.now()
  for (let i = 0; i < 1_000; i++) summaries.due({ cid, org: 'acme', settledSeq: 10 })
  // A thousand of them, each of which would have waited for seconds.
  expect(performance.now() - start).toBeLessThan(2_000)
  await summaries.request(ada, cid.toHexString())
  expect(
    await createReconciler({ ...world.database, queue: away, logger, intervalMs: 60_000 }).reconcile(),
  ).toBe(0)
  await closeRedis(nowhere)
  await away.close()

  expect(await reconciler().reconcile()).toBe(1)
  expect(await job(cid, '1-11')).toBeDefined()
  expect(await world.run(cid)).toEqual([10, 11])
})
