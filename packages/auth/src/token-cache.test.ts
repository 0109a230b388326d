import { expect, it } from 'vitest'
import { createTokenCache } from './token-cache.ts'

it('keeps what is used and stays bounded', () => {
  const cache = createTokenCache<number>(10)
  cache.set('used', 1)
  for (let i = 0; i < 1_000; i++) {
    cache.set(`token ${i}`, i)
    expect(cache.get('used')).toBe(1)
  }
  const kept = Array.from({ length: 1_000 }, (_, i) => cache.get(`token ${i}`)).filter((v) => v !== undefined)
  expect(kept.length).toBeLessThanOrEqual(20)
  expect(cache.get('token 999')).toBe(999)
})
