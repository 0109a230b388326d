import { parseArgs } from 'node:util'
import { startBacklogBed } from '../faults/backlog.ts'
import { type Bed, startBed } from '../faults/bed.ts'
import { startLinkedBed } from '../faults/r3-links.ts'
import { startSummaryBed } from '../faults/r9-summaries.ts'
import type { Report, Row } from '../faults/row.ts'
import { BACKLOG_ROWS, LINKED_ROWS, ROWS, SUMMARY_ROWS } from '../faults/rows.ts'
import { createRandom } from '../support/random.ts'

const NAMES = [ROWS, LINKED_ROWS, SUMMARY_ROWS, BACKLOG_ROWS].flatMap((rows) => Object.keys(rows))
/** Rows on an api alone. */
const REST_ROWS = { S1: s1 }
const NAMES: string[] = [ROWS, LINKED_ROWS, REST_ROWS].flatMap(Object.keys)

const usage = `Usage: pnpm soak -- [--minutes N] [--seed S] [--only ROW[,ROW…]] [--short]
Rows: ${NAMES.join(', ')}. Minutes (10) are spread over
the rows; --short runs each as small as in the tests.`

const { values } = parseArgs({
  args: process.argv.slice(2).filter((arg) => arg !== '--'),
  options: {
    minutes: { type: 'string', default: '10' },
    seed: { type: 'string' },
    only: { type: 'string' },
    short: { type: 'boolean', default: false },
    help: { type: 'boolean' },
  },
})

const say = (line: string) => process.stderr.write(`${line}\n`)

interface Outcome extends Report {
  name: string
  seconds: number
}

/** Runs one row on a bed of its own, so that no row inherits what another left behind. */
async function runRow<P, B extends { close(): Promise<void> }>(
  row: Row<P, B>,
  start: () => Promise<B>,
  minutes: number,
  seed: number,
): Promise<Outcome> {
  say(`${row.name}: ${row.title}`)
  const bed = await start()
  const begun = performance.now()
  const log = (line: string) =>
    say(`  ${((performance.now() - begun) / 1000).toFixed(1).padStart(7)} s  ${line}`)
  try {
    const report = await row.run(bed, {
      random: createRandom(seed),
      size: values.short ? row.short : row.full(minutes),
      log,
    })
    return { ...report, name: row.name, seconds: Math.round((performance.now() - begun) / 1000) }
  } catch (error) {
    const faults = [`did not get to its end: ${error instanceof Error ? error.stack : error}`]
    return { faults, figures: {}, name: row.name, seconds: Math.round((performance.now() - begun) / 1000) }
  } finally {
    await bed.close()
  }
}

async function main(): Promise<number> {
  const minutes = Number(values.minutes)
  const seed = values.seed === undefined ? Math.floor(Math.random() * 1e9) : Number(values.seed)
  const chosen =
    values.only === undefined ? NAMES : values.only.split(',').map((name) => name.trim().toUpperCase())
  const unknown = chosen.filter((name) => !NAMES.includes(name))
  if (values.help || unknown.length > 0 || !(minutes > 0) || !Number.isInteger(seed)) {
    say(unknown.length > 0 ? `Unknown row: ${unknown.join(', ')}\n${usage}` : usage)
    return values.help ? 0 : 2
  }
  say(`Seed ${seed}, ${minutes} minutes, rows ${chosen.join(', ')}`)
  const share = minutes / chosen.length
  const outcomes: Outcome[] = []
  for (const [name, row] of Object.entries(ROWS)) {
    if (chosen.includes(name)) outcomes.push(await runRow(row as Row<unknown, Bed>, startBed, share, seed))
  }
  for (const [name, row] of Object.entries(LINKED_ROWS)) {
    if (chosen.includes(name)) outcomes.push(await runRow(row, startLinkedBed, share, seed))
  }
  for (const [name, row] of Object.entries(SUMMARY_ROWS)) {
    if (chosen.includes(name)) outcomes.push(await runRow(row, startSummaryBed, share, seed))
  }
  for (const [name, row] of Object.entries(BACKLOG_ROWS)) {
    if (chosen.includes(name)) outcomes.push(await runRow(row, startBacklogBed, share, seed))
  }
  for (const [name, row] of Object.entries(REST_ROWS)) {
    if (chosen.includes(name)) outcomes.push(await runRow(row, startRestBed, share, seed))
  }
  for (const { name, faults, figures, seconds } of outcomes) {
    const shown = Object.entries(figures).map(([key, value]) => `${key} ${value}`)
    process.stdout.write(
      `${faults.length === 0 ? 'holds' : 'FAILS'}  ${name}  ${seconds} s  ${shown.join(', ')}\n`,
    )
    for (const fault of faults.slice(0, 20)) process.stdout.write(`       ${fault}\n`)
    if (faults.length > 20) process.stdout.write(`       … and ${faults.length - 20} more\n`)
  }
  return outcomes.every(({ faults }) => faults.length === 0) ? 0 : 1
}

process.exitCode = await main()
