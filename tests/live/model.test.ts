import { expect, test } from 'vitest'
import { createRandom } from '../support/random.ts'
import { model, startModelBed } from './model.ts'

const seed = 11

test(model.title, async () => {
  const bed = await startModelBed()
  try {
    const { faults } = await model.run(bed, {
      random: createRandom(seed),
      size: model.short,
      log: () => undefined,
    })
    expect(faults).toEqual([])
  } finally {
    await bed.close()
  }
}, 180_000)
