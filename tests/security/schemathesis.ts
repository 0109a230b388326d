import type { Stack } from '@parley/devstack'
import type { Report } from '../faults/row.ts'
import { finished, type Python, pythonWith } from '../support/python.ts'

const VERSION = '4.*'

/**
 * Lets schemathesis (from PyPI, into a throw-away folder) try the api by its document: undocumented statuses and
 * types, bodies that do not fit, 5xx. `examples` per call.
 */
export async function runSchemathesis(
  stack: Stack,
  { examples, log }: { examples: number; log(line: string): void },
): Promise<Report> {
  log('fetching schemathesis')
  let python: Python
  try {
    python = await pythonWith(`schemathesis==${VERSION}`)
  } catch (error) {
    return { faults: [String(error)], figures: {} }
  }
  try {
    const token = stack.token({ sub: 'ada', orgId: 'schemathesis', roles: ['admin'], expiresIn: 80_000 })
    log(`schemathesis, ${examples} examples per call`)
    const { code, output } = await finished(
      python.start([
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
      ]),
    )
    const cases = /(\d+) generated/.exec(output)?.[1] ?? /(\d[\d,]*) test cases/.exec(output)?.[1] ?? '?'
    return {
      faults: code === 0 ? [] : [`schemathesis: ${output.slice(-6_000)}`],
      figures: { schemathesis: cases },
    }
  } finally {
    await python.remove()
  }
}
