import { parseArgs } from 'node:util'
import type { Report } from '../faults/row.ts'
import { TRIALS, type Trial } from './trials.ts'

const NAMES = TRIALS.map(({ name }) => name)
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
const write = (line: string) => process.stdout.write(`${line}\n`)

async function run(
  { name, title, run: start }: Trial,
  seed: number,
  minutes: number | null,
): Promise<boolean> {
  say(`${name}: ${title}`)
  const begun = performance.now()
  const seconds = () => (performance.now() - begun) / 1000
  const log = (line: string) => say(`  ${seconds().toFixed(1).padStart(7)} s  ${line}`)
  let report: Report
  try {
    report = await start({ seed, minutes, log })
  } catch (error) {
    report = {
      faults: [`did not get to its end: ${error instanceof Error ? error.stack : error}`],
      figures: {},
    }
  }
  const { faults, figures } = report
  const shown = Object.entries(figures).map(([key, value]) => `${key} ${value}`)
  write(
    `${faults.length === 0 ? 'holds' : 'FAILS'}  ${name}  ${Math.round(seconds())} s  ${shown.join(', ')}`,
  )
  for (const fault of faults.slice(0, 20)) write(`       ${fault}`)
  if (faults.length > 20) write(`       … and ${faults.length - 20} more`)
  return faults.length === 0
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
  say(`Seed ${seed}, ${values.short ? 'short' : `${minutes} minutes`}, rows ${chosen.join(', ')}`)
  const share = values.short ? null : minutes / chosen.length
  let failed = 0
  for (const trial of TRIALS) {
    if (chosen.includes(trial.name) && !(await run(trial, seed, share))) failed += 1
  }
  return failed === 0 ? 0 : 1
}

process.exitCode = await main()
