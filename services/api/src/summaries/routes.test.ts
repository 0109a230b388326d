import { createRevocationList, createServiceVerifier, createVerifier, signUserToken } from '@parley/auth'
import {
  commonConfig,
  createHttpServer,
  createLogger,
  jwtConfig,
  loadConfig,
  problemErrors,
} from '@parley/service-kit'
import { expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { authentication } from '../plugins/authentication.ts'
import type { Context } from './context.ts'
import { summaryRoutes } from './routes.ts'
import type { SummaryService } from './service.ts'

const JWT_SECRET = 'j'.repeat(32)
const config = loadConfig(z.object({ ...commonConfig, ...jwtConfig }), {
  REDIS_URL: 'redis://127.0.0.1:1',
  SERVICE_SECRET: 's'.repeat(32),
  JWT_SECRET,
})

async function openApp(wait: SummaryService['wait']) {
  const revocations = createRevocationList()
  const app = createHttpServer({ logger: createLogger({ name: 'test', level: 'silent' }) })
  onTestFinished(() => app.close())
  problemErrors(app)
  authentication(app, {
    verifier: createVerifier(config, { revocations }),
    serviceVerifier: createServiceVerifier(config.SERVICE_SECRET),
    seen: () => undefined,
  })
  const summaries: Pick<SummaryService, 'request' | 'wait'> = {
    request: async (caller) => ({ caller }) as Awaited<ReturnType<SummaryService['request']>>,
    wait,
  }
  const context: Context = { get: () => Promise.reject(new Error('nobody asks')) }
  await app.register(summaryRoutes, { summaries: summaries as SummaryService, context })
  const token = signUserToken(JWT_SECRET, { sub: 'ada', orgId: 'acme' })
  const path = `/${'f'.repeat(24)}/summary?wait=true`
  const post = { method: 'POST', headers: { authorization: `Bearer ${token}` } } as const
  return { app, revocations, path, post, ask: () => app.inject({ ...post, url: path }) }
}

test('a caller revoked while waiting for a summary does not get it', async () => {
  let meanwhile = () => {}
  const { revocations, ask } = await openApp(async () => {
    meanwhile()
    return { contextSummary: 'a secret', summaryCoversSeq: 10 }
  })
  expect((await ask()).json()).toMatchObject({ contextSummary: 'a secret' })
  meanwhile = () =>
    revocations.add({ orgId: 'acme', type: 'user', id: 'ada', before: Math.floor(Date.now() / 1_000) })
  const refused = await ask()
  expect([refused.statusCode, refused.json().code]).toEqual([401, 'unauthenticated'])
})

test('a caller who waits for a summary while the process ends is told that it is queued', async () => {
  const asked = Promise.withResolvers<void>()
  const { app, path, post } = await openApp((_wanted, signal) => {
    asked.resolve()
    return new Promise((resolve) => signal.addEventListener('abort', () => resolve(null)))
  })
  await app.listen({ host: '127.0.0.1', port: 0 })
  const answer = fetch(`${app.listeningOrigin}${path}`, post)
  await asked.promise
  await app.close()
  expect((await answer).status).toBe(202)
})
