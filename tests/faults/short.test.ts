import { afterAll, beforeAll, expect, test } from 'vitest'
import { createRandom } from '../support/random.ts'
import { comesTrue } from '../support/until.ts'
import { type Bed, startBed } from './bed.ts'
import { startLinkedBed } from './r3-links.ts'
import type { Row } from './row.ts'
import { LINKED_ROWS, ROWS } from './rows.ts'

const seed = 7
const log = () => undefined

async function run<P, B>(row: Row<P, B>, bed: B): Promise<void> {
  const { faults } = await row.run(bed, { random: createRandom(seed), size: row.short, log })
  expect(faults).toEqual([])
}

let bed: Bed

beforeAll(async () => {
  bed = await startBed({ env: { SUMMARY_RECONCILE_MS: '2000' } })
}, 60_000)
afterAll(() => bed?.close())

test.for(Object.values(ROWS) as Row<unknown, Bed>[])('$name: $title', (row) => run(row, bed))

test('every bucket that was filled has its summary', async () => {
  const admin = bed.http('admin', ['admin'])
  const behind = async () => {
    const { data } = await admin.sure<{ data: { lastSeq: number; summaryCoversSeq: number }[] }>(
      'GET',
      '/conversations?limit=100',
    )
    return data.filter(({ lastSeq, summaryCoversSeq }) => summaryCoversSeq < Math.floor(lastSeq / 10) * 10)
  }
  await comesTrue(async () => (await behind()).length === 0, 70_000)
  expect(await behind()).toEqual([])
})

test(`${LINKED_ROWS.R3.name}: ${LINKED_ROWS.R3.title}`, async () => {
  const linked = await startLinkedBed()
  try {
    await run(LINKED_ROWS.R3, linked)
  } finally {
    await linked.close()
  }
})
