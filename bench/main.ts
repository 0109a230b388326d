import { readdir } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { describe, type Row, verdict } from './harness/report.ts'

/**
 * `pnpm bench -- [ROW …] [--full]`: measures the named rows, or all, one after the other. Exits 0 whatever the figures
 * are: a figure is to be read, not to break a build.
 */
const print = (line: string): void => {
  process.stdout.write(`${line}\n`)
}
const { values, positionals } = options()

const folder = new URL('./rows/', import.meta.url)
const files = (await readdir(folder)).filter((name) => name.endsWith('.ts')).sort()
const rows = await Promise.all(
  files.map(async (name) => ((await import(new URL(name, folder).href)) as { row: Row }).row),
)
if (values.help) {
  print('pnpm bench -- [ROW …] [--full]')
  for (const { id, title } of rows) print(`  ${id.padEnd(4)} ${title}`)
  process.exit(0)
}
const wanted = positionals.map((id) => id.toUpperCase())
const unknown = wanted.filter((id) => !rows.some((row) => row.id === id))
if (unknown.length > 0) {
  print(`No row ${unknown.join(', ')}. Rows: ${rows.map(({ id }) => id).join(', ')}`)
  process.exit(2)
}

const started = Date.now()
const tally = new Map<string, number>()
for (const row of rows) {
  if (wanted.length > 0 && !wanted.includes(row.id)) continue
  print(`${row.id}  ${row.title}`)
  for await (const cell of row.run({ full: values.full })) {
    print(describe(row.id, cell))
    tally.set(verdict(cell), (tally.get(verdict(cell)) ?? 0) + 1)
  }
}
const minutes = ((Date.now() - started) / 60_000).toFixed(1)
print(
  [...tally]
    .map(([name, count]) => `${count} ${name}`)
    .join(', ')
    .concat(`; ${minutes} minutes`),
)
if (!values.full) {
  print(
    'Smaller than with --full: B4 5,000 connections, B6 1,024 conversations, B8 10^5 messages, B10 not at 10 messages a second, B11 600 clients.',
  )
}
process.exit(0)

function options() {
  try {
    return parseArgs({
      options: { full: { type: 'boolean', default: false }, help: { type: 'boolean', default: false } },
      allowPositionals: true,
    })
  } catch (error) {
    print(error instanceof Error ? error.message : String(error))
    process.exit(2)
  }
}
