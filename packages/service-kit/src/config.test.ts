import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { commonConfig, csv, httpUrls, jwtConfig, loadConfig, port, rate } from './config.ts'

const Schema = z.object({
  ...commonConfig,
  ...jwtConfig,
  PORT: port(3000),
  CORS_ORIGINS: csv(),
  API_URL: httpUrls().optional(),
  RATE: rate(60),
})
const sound = {
  REDIS_URL: 'redis://127.0.0.1:6379',
  SERVICE_SECRET: 's'.repeat(32),
  JWT_SECRET: 'j'.repeat(32),
}
const load = (env: Record<string, string>) => loadConfig(Schema, { ...sound, ...env })

describe('configuration', () => {
  it('has defaults for all but secrets and addresses', () => {
    expect(load({})).toMatchObject({
      HOST: '127.0.0.1',
      PORT: 3000,
      LOG_LEVEL: 'info',
      SHUTDOWN_TIMEOUT_MS: 25_000,
      RATE: 60,
      CORS_ORIGINS: [],
      AUTH_DEV_TOKENS: false,
      JWT_ROLE_ADMIN: 'admin',
    })
    expect(load({ METRICS_PORT: '9100', CORS_ORIGINS: ' https://a.test, https://*.b.test ' })).toMatchObject({
      METRICS_PORT: 9100,
      CORS_ORIGINS: ['https://a.test', 'https://*.b.test'],
    })
  })

  it('names every faulty variable, and never its value', () => {
    const fail = () =>
      loadConfig(Schema, { PORT: '70000', SERVICE_SECRET: 'too-short-secret', LOG_LEVEL: 'loud', RATE: '-1' })
    for (const name of ['PORT', 'SERVICE_SECRET', 'LOG_LEVEL', 'RATE', 'REDIS_URL'])
      expect(fail).toThrow(name)
    expect(fail).not.toThrow(/too-short-secret/)
  })

  it('treats an empty variable as not set', () => {
    expect(load({ PORT: '', METRICS_PORT: '' })).toMatchObject({ PORT: 3000 })
    expect(() => load({ SERVICE_SECRET: '' })).toThrow('SERVICE_SECRET is required')
  })

  it('treats a METRICS_PORT equal to the service’s own port as not set: it could not listen there twice', () => {
    expect(load({ PORT: '3100', METRICS_PORT: '3100' }).METRICS_PORT).toBeUndefined()
    expect(load({ METRICS_PORT: '3000' }).METRICS_PORT).toBeUndefined()
    // Two that the system chooses.
    expect(load({ PORT: '0', METRICS_PORT: '0' }).METRICS_PORT).toBe(0)
  })

  it.each([
    [{ JWT_SECRET: '' }, 'exactly one of JWT_SECRET'],
    [{ JWT_JWKS_URL: 'https://issuer.test/jwks' }, 'exactly one of JWT_SECRET'],
    [{ SERVICE_SECRET: 'j'.repeat(32) }, 'SERVICE_SECRET must differ'],
    [{ JWT_SECRET: 'short' }, 'JWT_SECRET must be at least 32 bytes'],
    [{ NODE_ENV: 'production', AUTH_DEV_TOKENS: 'true' }, 'AUTH_DEV_TOKENS must not be true'],
    [{ NODE_ENV: 'production' }, 'JWT_ISSUER is required'],
    [{ NODE_ENV: 'production', JWT_ISSUER: 'x' }, 'JWT_AUDIENCE or JWT_AUTHORIZED_PARTIES is required'],
    [{ AUTH_DEV_TOKENS: 'yes' }, 'AUTH_DEV_TOKENS must be true or false'],
    [{ REDIS_URL: 'localhost:6379' }, 'REDIS_URL must be a URL'],
  ])('refuses %j', (env, message) => {
    expect(() => load(env)).toThrow(message)
  })

  it('accepts issuer and audience in production', () => {
    const env = { NODE_ENV: 'production', JWT_ISSUER: 'https://issuer.test', JWT_AUDIENCE: 'parley' }
    expect(load(env).JWT_AUDIENCE).toEqual(['parley'])
  })
})
