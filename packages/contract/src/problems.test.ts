import { expect, test } from 'vitest'
import { z } from 'zod'
import { fieldErrors } from './problems.ts'

test('of very many unknown fields, fifty are named and no more are collected', () => {
  const { error } = z
    .strictObject({})
    .safeParse(Object.fromEntries(Array.from({ length: 100_000 }, (_, n) => [n, n])))
  const errors = fieldErrors(error ?? new z.ZodError([]))
  expect(errors).toHaveLength(50)
  expect(errors[49]).toEqual({ pointer: '/49', detail: 'unknown field' })
})
