import { createRevocationList, createVerifier, signUserToken } from '@parley/auth'
import { createLogger, loadConfig } from '@parley/service-kit'
import { expect, test } from 'vitest'
import { GatewayConfig } from '../config.ts'
import type { ChatSocket } from '../sockets.ts'
import { createAdmission } from './admission.ts'
import { createHandshake } from './handshake.ts'

const JWT_SECRET = 'j'.repeat(32)
const config = loadConfig(GatewayConfig, {
  REDIS_URL: 'redis://127.0.0.1:1',
  API_URL: 'http://127.0.0.1:1',
  SERVICE_SECRET: 's'.repeat(32),
  JWT_SECRET,
})

test('who shows no token takes nothing from what newcomers may: thousands of them kept everybody else out', async () => {
  const admission = createAdmission({ connectsPerMinute: 0, now: () => 0 })
  const handshake = createHandshake({
    verifier: createVerifier(config, { revocations: createRevocationList() }),
    admission,
    isAllowedOrigin: () => true,
    eventsPerSecond: 0,
    onRefused: () => undefined,
    logger: createLogger({ name: 'test', level: 'silent' }),
  })
  const shakeHands = (auth: object) =>
    new Promise((resolve) => handshake({ handshake: { headers: {}, auth }, data: {} } as ChatSocket, resolve))
  for (let n = 0; n < 2_000; n++) {
    expect(await shakeHands({})).toMatchObject({ data: { code: 'unauthenticated' } })
  }
  const token = signUserToken(JWT_SECRET, { sub: 'ada', orgId: 'acme' })
  expect(await shakeHands({ token })).toBeUndefined()
  admission.close()
})
