import { expect, test } from 'vitest'
import { LIMITS } from './limits.ts'
import { previewOf } from './preview.ts'

test('a preview never ends in half a character, and shows nothing of what was deleted', () => {
  const before = 'x'.repeat(LIMITS.preview - 1)
  expect(previewOf({ content: `${before}😀` })).toBe(before)
  expect(previewOf({ content: `${before}yz`, deletedAt: null })).toBe(`${before}y`)
  expect(previewOf({ content: before, deletedAt: new Date() })).toBe('')
})
