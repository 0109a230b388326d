import { startBacklogBed } from '../faults/backlog.ts'
import { startBed } from '../faults/bed.ts'
import { startLimitedBed } from '../faults/d4-over-limit.ts'
import { startReplicatedBed } from '../faults/r2-primary.ts'
import { startLinkedBed } from '../faults/r3-links.ts'
import { startSummaryBed } from '../faults/r9-summaries.ts'
import type { Report, Row } from '../faults/row.ts'
import {
  BACKLOG_ROWS,
  LIMITED_ROWS,
  LINKED_ROWS,
  REPLICATED_ROWS,
  ROWS,
  SUMMARY_ROWS,
} from '../faults/rows.ts'
import { model, startModelBed } from '../live/model.ts'
import { s1, startRestBed } from '../security/fuzz.ts'
import { createRandom } from '../support/random.ts'

/** A row with the bed it needs: what the soak runs. */
export interface Trial {
  name: string
  title: string
  /** `minutes` null: as small as in the tests. */
  run(options: { seed: number; minutes: number | null; log(line: string): void }): Promise<Report>
}

/** Each trial has a bed of its own, so that no row inherits what another left behind. */
function trial<P, B extends { close(): Promise<void> }>(row: Row<P, B>, start: () => Promise<B>): Trial {
  return {
    name: row.name.toUpperCase(),
    title: row.title,
    async run({ seed, minutes, log }) {
      const bed = await start()
      try {
        const size = minutes === null ? row.short : row.full(minutes)
        return await row.run(bed, { random: createRandom(seed), size, log })
      } finally {
        await bed.close()
      }
    },
  }
}

/** What a Redis that lost its data makes of jobs shows soon. */
const startSummarizedBed = () => startBed({ env: { SUMMARY_RECONCILE_MS: '2000' } })

export const TRIALS: readonly Trial[] = [
  trial(ROWS.R6, startBed),
  trial(ROWS.R5, startBed),
  trial(ROWS.R8, startBed),
  trial(ROWS.R10, startBed),
  trial(ROWS.R4, startSummarizedBed),
  trial(ROWS.R1, startBed),
  trial(ROWS.P1, () => startBed({ gateways: 3 })),
  trial(ROWS.D1, startBed),
  trial(ROWS.D2, startBed),
  trial(ROWS.D3, startBed),
  trial(LIMITED_ROWS.D4, startLimitedBed),
  trial(REPLICATED_ROWS.R2, startReplicatedBed),
  trial(LINKED_ROWS.R3, startLinkedBed),
  trial(SUMMARY_ROWS.R9, startSummaryBed),
  trial(BACKLOG_ROWS.BACKLOG, startBacklogBed),
  trial(model, startModelBed),
  trial(s1, startRestBed),
]
