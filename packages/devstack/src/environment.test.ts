import { afterEach, expect, test, vi } from 'vitest'
import { userEnvironment } from './environment.ts'

afterEach(() => vi.unstubAllEnvs())

test.each(['JWT_PUBLIC_KEY', 'JWT_JWKS_URL', 'JWT_ISSUER', 'JWT_AUDIENCE', 'JWT_AUTHORIZED_PARTIES'])(
  '%s of a provider is not passed on: the tokens that are printed are signed here',
  (name) => {
    vi.stubEnv(name, 'https://id.example')
    vi.stubEnv('SUMMARY_MODEL_URL', 'https://model.example')
    const passed = userEnvironment()
    expect(passed).not.toHaveProperty(name)
    expect(passed).toMatchObject({ SUMMARY_MODEL_URL: 'https://model.example' })
  },
)
