import { Problem } from '@parley/contract'
import { createHttpServer, createLogger, problemErrors } from '@parley/service-kit'
import { Redis } from 'ioredis'
import { expect, inject, it, onTestFinished } from 'vitest'
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
  expect(await status('/work')).toBe(200)

  await expect
    .poll(
      async () => {
        const until = performance.now() + 400
        while (performance.now() < until) Math.sqrt(until)
        return status('/work')
      },
      { timeout: 10_000, interval: 1 },
    )
    .toBe(503)
  expect(await status('/health')).toBe(200)
  const answer = await app.inject('/work')
  if (answer.statusCode === 503) {
    expect(Problem.parse(answer.json()).code).toBe('overloaded')
    expect(answer.headers['retry-after']).toBe('2')
  }
  // And accepts it again once it can.
  await expect.poll(() => status('/work'), { timeout: 10_000, interval: 100 }).toBe(200)
})
