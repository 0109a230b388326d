import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { describe, expect, inject, it } from 'vitest'

const main = join(import.meta.dirname, '../../services/api/src/main.ts')
const secret = (letter: string) => letter.repeat(40)

/** Runs the api with exactly this environment; resolves once it has ended. */
async function boot(env: Record<string, string>) {
  const started = performance.now()
  const child = spawn(process.execPath, ['--conditions=@parley/source', main], {
    env: { PATH: process.env.PATH, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const chunks: Buffer[] = []
  child.stderr.on('data', (chunk) => chunks.push(chunk))
  child.stdout.resume()
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, stderr: Buffer.concat(chunks).toString(), ms: performance.now() - started }
}

const sound = () => ({
  MONGODB_URI: inject('mongodbUri'),
  REDIS_URL: inject('redisUrl'),
  SERVICE_SECRET: secret('s'),
  JWT_SECRET: secret('j'),
})

describe('what cannot boot exits 1 with one clear message', () => {
  it.each<[string, Record<string, string>, RegExp]>([
    ['no secrets', { SERVICE_SECRET: '', JWT_SECRET: '' }, /SERVICE_SECRET is required/],
    ['a short secret', { JWT_SECRET: 'short-and-secret' }, /JWT_SECRET must be at least 32 bytes/],
    ['no key at all', { JWT_SECRET: '' }, /exactly one of JWT_SECRET/],
    [
      'dev tokens in production',
      { NODE_ENV: 'production', AUTH_DEV_TOKENS: 'true' },
      /AUTH_DEV_TOKENS must not be true/,
    ],
    ['production without an issuer', { NODE_ENV: 'production' }, /JWT_ISSUER is required/],
    ['a port that is none', { PORT: '99999' }, /PORT must be a port/],
    ['prices that are no JSON', { MODEL_PRICES: '{' }, /MODEL_PRICES must be JSON/],
    ['an address that is none', { MONGODB_URI: 'localhost:27017' }, /MONGODB_URI must be a URL/],
  ])('%s', async (_, env, message) => {
    const { code, stderr } = await boot({ ...sound(), ...env })
    expect(code).toBe(1)
    expect(stderr).toMatch(message)
    expect(stderr.trim().split('\n')).toHaveLength(1)
    expect(stderr).not.toContain('short-and-secret')
  })

  it('a database that nobody answers for', async () => {
    const { code, stderr, ms } = await boot({ ...sound(), MONGODB_URI: 'mongodb://127.0.0.1:1/parley' })
    expect(code).toBe(1)
    expect(stderr).toMatch(/^api: cannot start: .*(MongoDB|127\.0\.0\.1:1)/)
    expect(stderr.trim().split('\n')).toHaveLength(1)
    expect(ms).toBeLessThan(30_000)
  })
})
