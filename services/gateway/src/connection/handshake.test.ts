import { createRevocationList, createVerifier, signUserToken, type UserClaims } from '@parley/auth'
import { createLogger, loadConfig } from '@parley/service-kit'
import { expect, onTestFinished, test } from 'vitest'
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

const tokenOf = (sub: string, more: Partial<UserClaims> = {}) =>
  signUserToken(JWT_SECRET, { sub, orgId: 'acme', ...more })

function openHandshake(connectsPerMinute: number) {
  const admission = createAdmission({ connectsPerMinute, now: () => 0 })
  const handshake = createHandshake({
    verifier: createVerifier(config, { revocations: createRevocationList() }),
    admission,
    isAllowedOrigin: () => true,
    eventsPerSecond: 0,
    onRefused: () => undefined,
    logger: createLogger({ name: 'test', level: 'silent' }),
  })
  onTestFinished(admission.close)
  return (auth: object) =>
    new Promise<string>((resolve) =>
      handshake({ handshake: { headers: {}, auth }, data: {} } as ChatSocket, (refused) =>
        resolve(refused?.message ?? 'admitted'),
      ),
    )
}

test.for([
  ['somebody who shows no token', 0, 'unauthenticated', () => ({})],
  ['somebody who shows an invalid one', 0, 'unauthenticated', () => ({ token: 'x' })],
  ['one person who connects far too often', 1, 'overloaded', () => ({ token: tokenOf('eager') })],
] as const)(
  '%s takes nothing from the newcomers’ allowance: thousands of them kept everybody else out',
  async ([, connectsPerMinute, code, auth]) => {
    const shakeHands = openHandshake(connectsPerMinute)
    for (let n = 0; n < 2_000; n++)
      expect(await shakeHands(auth())).toBe(n < connectsPerMinute ? 'admitted' : code)
    expect(await shakeHands({ token: tokenOf('ada') })).toBe('admitted')
  },
)

test('connections are counted per person, also where another org or an agent has the same name', async () => {
  const shakeHands = openHandshake(1)
  const namesakes = [{}, { orgId: 'other' }, { type: 'agent' as const }]
  for (const more of namesakes) expect(await shakeHands({ token: tokenOf('ada', more) })).toBe('admitted')
  for (const more of namesakes) expect(await shakeHands({ token: tokenOf('ada', more) })).toBe('overloaded')
})
