import { expect, it } from 'vitest'
import { createOriginCheck } from './origins.ts'

it('lets in listed origins and their subdomains, and pages of this machine outside production', () => {
  const origins = ['https://app.test', 'https://*.example.com']
  const production = createOriginCheck({ origins, production: true })
  const allowed = [
    'https://app.test',
    'https://a.example.com',
    'https://a.b.example.com',
    'https://A.Example.com',
  ]
  for (const origin of allowed) expect(production(origin), origin).toBe(true)
  for (const origin of [
    'http://app.test',
    'https://app.test:8443',
    'https://app.test.evil.test',
    'https://example.com',
    'https://evil-example.com',
    'https://evil.test/.example.com',
    'https://evil.test#.example.com',
    'http://localhost:5173',
    'null',
    '',
  ]) {
    expect(production(origin), origin).toBe(false)
  }
  const development = createOriginCheck({ origins: [], production: false })
  for (const origin of [
    'http://localhost',
    'http://localhost:5173',
    'http://127.0.0.1:80',
    'http://[::1]:3000',
  ]) {
    expect(development(origin), origin).toBe(true)
  }
  for (const origin of ['http://localhost.evil.test', 'https://app.test', 'null']) {
    expect(development(origin), origin).toBe(false)
  }
})
