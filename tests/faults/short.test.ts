import { afterAll, beforeAll, expect, test } from 'vitest'
import { createRandom } from '../support/random.ts'
import { type Bed, startBed } from './bed.ts'
import { startLimitedBed } from './d4-over-limit.ts'
import { startLinkedBed } from './r3-links.ts'
import type { Row } from './row.ts'
import { LIMITED_ROWS, LINKED_ROWS, ROWS } from './rows.ts'
import { type Head, summaryFaults } from './summaries.ts'

interface HeadPage {
  data: Head[]
  page: { nextCursor: string | null }
}

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
  async function all(): Promise<Head[]> {
    const heads: Head[] = []
    for (let cursor: string | null = ''; cursor !== null; ) {
      const query: string = cursor === '' ? '' : `&cursor=${encodeURIComponent(cursor)}`
      const { data, page } = await admin.sure<HeadPage>('GET', `/conversations?limit=100${query}`)
      heads.push(...data)
      cursor = page.nextCursor
    }
    return heads
  }
  expect(await summaryFaults(all, 70_000)).toEqual([])
})

/** A row on a bed of its own. */
function testApart<P, B extends { close(): Promise<void> }>(row: Row<P, B>, start: () => Promise<B>): void {
  test(`${row.name}: ${row.title}`, async () => {
    const own = await start()
    try {
      await run(row, own)
    } finally {
      await own.close()
    }
  })
}
testApart(LIMITED_ROWS.D4, startLimitedBed)
testApart(LINKED_ROWS.R3, startLinkedBed)
