import { expect, test } from 'vitest'
import { startBed } from '../faults/bed.ts'
import { createRandom } from '../support/random.ts'
import { model } from './model.ts'

const seed = 11

test(model.title, async () => {
  const bed = await startBed({ workers: 0 })
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
