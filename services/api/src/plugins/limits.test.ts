import { Problem } from '@parley/contract'
import { createHttpServer, createLogger, problemErrors } from '@parley/service-kit'
import { Redis } from 'ioredis'
import { expect, inject, it, onTestFinished, vi } from 'vitest'
import { limits } from './limits.ts'

it('turns work away while the process is overloaded, but still answers health checks', async () => {
  const redis = new Redis(inject('redisUrl'))
  const app = createHttpServer({ logger: createLogger({ name: 'test', level: 'silent' }) })
  onTestFinished(async () => {
    await app.close()
    redis.disconnect()
  })
  problemErrors(app)
  await limits(app, { redis, restPerMinute: 0, sendPerMinute: 0, maxDelayMs: 5 })
  app.get('/work', { config: { permission: 'message:list' } }, async () => ({}))
  app.get('/health', { config: { permission: 'open' } }, async () => ({}))
  const status = async (path: string) => (await app.inject(path)).statusCode
  await expect.poll(() => status('/work')).toBe(200)

  const refused = await vi.waitFor(
    async () => {
      const until = performance.now() + 400
      while (performance.now() < until) Math.sqrt(until)
      const answer = await app.inject('/work')
      expect(answer.statusCode).toBe(503)
      return answer
    },
    { interval: 1 },
  )
  expect(Problem.parse(refused.json()).code).toBe('overloaded')
  expect(refused.headers['retry-after']).toBe('2')
  expect(await status('/health')).toBe(200)
  // And accepts it again once it can.
  await expect.poll(() => status('/work'), { interval: 100 }).toBe(200)
})
