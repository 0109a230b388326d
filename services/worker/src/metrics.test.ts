import { SUMMARY_QUEUE } from '@parley/contract'
import { closeRedis, connectRedis, createRegistry, redisReady } from '@parley/service-kit'
import { Queue } from 'bullmq'
import { expect, inject, test } from 'vitest'
import { createQueueView } from './jobs/queue-view.ts'
import { observeModel, observeQueue } from './metrics.ts'

test('the queue is shown by state, and left out while Redis is away', async () => {
  const redis = connectRedis(`${inject('redisUrl')}/8`, { name: 'metrics-test', kind: 'waiting' })
  await redisReady(redis, 5_000)
  await redis.flushdb()
  const queue = new Queue(SUMMARY_QUEUE, { connection: redis })
  await queue.add('summarize', {}, { jobId: 'summary-x-1' })
  await queue.add('summarize', {}, { jobId: 'summary-x-2', delay: 60_000 })

  const registry = createRegistry('worker')
  const view = createQueueView(redis)
  observeQueue(registry, view)
  observeModel(registry, () => true)
  const shown = await registry.metrics()
  expect(shown).toMatch(/summary_queue_jobs\{[^}]*state="waiting"[^}]*\} 1/)
  expect(shown).toMatch(/summary_queue_jobs\{[^}]*state="delayed"[^}]*\} 1/)
  expect(shown).toMatch(/summary_queue_jobs\{[^}]*state="failed"[^}]*\} 0/)
  expect(shown).toMatch(/summary_model_circuit_open\{[^}]*\} 1/)

  await queue.close()
  await view.close()
  await closeRedis(redis)
  expect(await registry.metrics()).not.toContain('state="waiting"')
})
