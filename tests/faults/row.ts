import type { Random } from '../support/random.ts'

/** What a run of a row showed. It holds if `faults` is empty. */
export interface Report {
  faults: string[]
  figures: Record<string, number | string>
}

export interface RunOptions<P> {
  random: Random
  /** How much, how often, how long. */
  size: P
  /** Called with what is being done, for those watching a long run. */
  log(line: string): void
}

/** A row of the fault table. `short` is for every test run, `full(minutes)` for a soak of about that long. */
export interface Row<P, B> {
  name: string
  title: string
  short: P
  full(minutes: number): P
  run(bed: B, options: RunOptions<P>): Promise<Report>
}

export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0)
}
