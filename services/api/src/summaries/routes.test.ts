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

test('a caller revoked while waiting for a summary does not get it', async () => {
  const revocations = createRevocationList()
  const app = createHttpServer({ logger: createLogger({ name: 'test', level: 'silent' }) })
  onTestFinished(() => app.close())
  problemErrors(app)
  authentication(app, {
    verifier: createVerifier(config, { revocations }),
    serviceVerifier: createServiceVerifier(config.SERVICE_SECRET),
    seen: () => undefined,
  })
  let meanwhile = () => {}
  const summaries: Pick<SummaryService, 'request' | 'wait'> = {
    request: async (caller) => ({ caller }) as Awaited<ReturnType<SummaryService['request']>>,
    wait: async () => {
      meanwhile()
      return { contextSummary: 'a secret', summaryCoversSeq: 10 }
    },
  }
  const context: Context = { get: () => Promise.reject(new Error('nobody asks')) }
  await app.register(summaryRoutes, { summaries: summaries as SummaryService, context })
  const token = signUserToken(JWT_SECRET, { sub: 'ada', orgId: 'acme' })
  const ask = () =>
    app.inject({
      method: 'POST',
      url: `/${'f'.repeat(24)}/summary?wait=true`,
      headers: { authorization: `Bearer ${token}` },
    })
  expect((await ask()).json()).toMatchObject({ contextSummary: 'a secret' })
  meanwhile = () =>
    revocations.add({ orgId: 'acme', type: 'user', id: 'ada', before: Math.floor(Date.now() / 1_000) })
  const refused = await ask()
  expect([refused.statusCode, refused.json().code]).toEqual([401, 'unauthenticated'])
})
