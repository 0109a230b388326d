import { afterAll, beforeAll, expect, inject, it } from 'vitest'
import { createRandom } from '../support/random.ts'
import { type RestBed, s1, startRestBed } from './fuzz.ts'

let bed: RestBed
beforeAll(async () => {
  bed = await startRestBed(inject('mongodbUri'))
})
afterAll(() => bed?.close())

it(`${s1.name}: ${s1.title}`, async () => {
  const { faults, figures } = await s1.run(bed, {
    random: createRandom(11),
    size: s1.short,
    log: () => undefined,
  })
  expect(faults).toEqual([])
  // All doors were tried: some opened, some did not.
  for (const status of ['200', '201', '204', '401', '404', '422']) expect(figures).toHaveProperty(status)
})
