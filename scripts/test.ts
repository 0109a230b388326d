/**
 * `npm test`: types, lint and format, then every test on real stores. What is given after `--` goes to vitest
 * (`npm test -- --project unit packages/auth`). The last line is `N passed, N failed`, checks included.
 */
import { spawn } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const root = join(import.meta.dirname, '..')
const bin = (name: string) => join(root, 'node_modules', '.bin', name)
const environment = process.stdout.isTTY ? process.env : { ...process.env, NO_COLOR: '1' }

const checks = [
  { name: 'types', command: bin('tsc'), args: ['-b'] },
  { name: 'types of tests and scripts', command: bin('tsc'), args: ['-p', 'tsconfig.tests.json'] },
  { name: 'lint and format', command: bin('biome'), args: ['check', '--error-on-warnings', '.'] },
]

/** The part of vitest's JSON report that is counted. */
type Report = {
  numPassedTests: number
  numFailedTests: number
  numPendingTests: number
  numTodoTests: number
  testResults: { status: string; assertionResults: { status: string }[] }[]
}

// The launcher is gone, however it went: so are we and all below us, as one group.
process.once('disconnect', () => process.kill(0, 'SIGTERM'))
process.channel?.unref()

let passed = 0
let failed = 0

for (const { name, command, args } of checks) {
  const started = Date.now()
  const status = await run(command, args)
  if (status === 0) passed += 1
  else failed += 1
  console.log(`${status === 0 ? '✓' : '✗'} ${name} (${((Date.now() - started) / 1000).toFixed(1)} s)`)
}

const folder = await mkdtemp(join(tmpdir(), 'parley-report-'))
const reportFile = join(folder, 'report.json')
const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${reportFile}`]
const status = await run(bin('vitest'), ['run', ...reporters, ...process.argv.slice(2)])
const counts = count(await readReport(), status)
await rm(folder, { recursive: true, force: true })
passed += counts.passed
failed += counts.failed
if (counts.skipped > 0) console.log(`skipped: ${counts.skipped}, see above`)
console.log(`${passed} passed, ${failed} failed`)
process.exit(failed === 0 ? 0 : 1)

function run(command: string, args: string[]): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd: root,
      env: environment,
      stdio: ['ignore', 'inherit', 'inherit'],
    })
    child.once('error', reject)
    child.once('exit', (code) => resolve(code ?? 1))
  })
}

async function readReport(): Promise<Report | undefined> {
  try {
    return JSON.parse(await readFile(reportFile, 'utf8'))
  } catch (error) {
    console.error(`vitest left no report: ${error instanceof Error ? error.message : error}`)
    return undefined
  }
}

/** A file that failed before its first test, and a run that failed without a failed test, count as one failure each. */
function count(report: Report | undefined, exitStatus: number) {
  if (!report) return { passed: 0, failed: 1, skipped: 0 }
  const silent = report.testResults.filter(
    ({ status, assertionResults }) =>
      status === 'failed' && !assertionResults.some((assertion) => assertion.status === 'failed'),
  )
  const failures = report.numFailedTests + silent.length
  return {
    passed: report.numPassedTests,
    failed: failures === 0 && exitStatus !== 0 ? 1 : failures,
    skipped: report.numPendingTests + report.numTodoTests,
  }
}
