import { expect, test } from 'vitest'
import { createRandom } from '../support/random.ts'
import { r9, startSummaryBed } from './r9-summaries.ts'

test(`${r9.name}: ${r9.title}`, async () => {
  const bed = await startSummaryBed()
  try {
    const { faults } = await r9.run(bed, { random: createRandom(7), size: r9.short, log: () => undefined })
    expect(faults).toEqual([])
  } finally {
    await bed.close()
  }
})
