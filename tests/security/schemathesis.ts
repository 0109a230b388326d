import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Stack } from '@parley/devstack'
import type { Report } from '../faults/row.ts'

const VERSION = '4.*'

function run(
  command: string,
  args: string[],
  cwd: string,
  env: NodeJS.ProcessEnv = process.env,
): Promise<{ code: number; output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] })
    const chunks: Buffer[] = []
    child.stdout.on('data', (chunk) => chunks.push(chunk))
    child.stderr.on('data', (chunk) => chunks.push(chunk))
    child.once('error', reject)
    child.once('close', (code) => resolve({ code: code ?? 1, output: Buffer.concat(chunks).toString() }))
  })
}

/**
 * Lets schemathesis (from PyPI, into a throw-away folder) try the api by its document: undocumented statuses and
 * types, bodies that do not fit, 5xx. `examples` per call.
 */
export async function runSchemathesis(
  stack: Stack,
  { examples, log }: { examples: number; log(line: string): void },
): Promise<Report> {
  const folder = await mkdtemp(join(tmpdir(), 'parley-schemathesis-'))
  try {
    log('fetching schemathesis')
    const installed = await run(
      'python3',
      ['-m', 'pip', 'install', '--quiet', '--target', folder, `schemathesis==${VERSION}`],
      folder,
    )
    if (installed.code !== 0) {
      return { faults: [`schemathesis could not be fetched: ${installed.output.slice(-400)}`], figures: {} }
    }
    const token = stack.token({ sub: 'ada', orgId: 'schemathesis', roles: ['admin'], expiresIn: 80_000 })
    log(`schemathesis, ${examples} examples per call`)
    const { code, output } = await run(
      'python3',
      [
        '-m',
        'schemathesis.cli',
        'run',
        `${stack.apiUrl}/openapi.json`,
        '--header',
        `Authorization: Bearer ${token}`,
        '--max-examples',
        String(examples),
        '--checks',
        'not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance',
        '--exclude-path',
        '/metrics',
        '--phases',
        'examples,coverage,fuzzing',
        '--no-color',
      ],
      folder,
      { ...process.env, PYTHONPATH: folder },
    )
    const cases = /(\d+) generated/.exec(output)?.[1] ?? /(\d[\d,]*) test cases/.exec(output)?.[1] ?? '?'
    return {
      faults: code === 0 ? [] : [`schemathesis: ${output.slice(-6_000)}`],
      figures: { schemathesis: cases },
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
