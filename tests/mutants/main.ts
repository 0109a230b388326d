import { parseArgs } from 'node:util'
import { MUTANTS, type Mutant, type Proof } from './mutants.ts'
import { createWorkspace, type Workspace } from './workspace.ts'

/**
 * Shows that the tests can fail: each deliberately broken variant of the source has to turn its named test red, three
 * times of three, and the source as it is has to leave it green.
 */
const { values } = parseArgs({
  args: process.argv.slice(2).filter((arg) => arg !== '--'),
  options: {
    only: { type: 'string' },
    times: { type: 'string', default: '3' },
    list: { type: 'boolean' },
  },
})

const say = (line: string) => process.stdout.write(`${line}\n`)
const MINUTES_5 = 5 * 60_000

function command(proof: Proof, seed: number): string[] {
  if ('row' in proof) {
    return [
      '--conditions=@parley/source',
      'tests/soak/main.ts',
      '--short',
      '--only',
      proof.row,
      '--seed',
      `${seed}`,
    ]
  }
  const name = proof.name === undefined ? [] : ['-t', proof.name]
  return ['node_modules/vitest/vitest.mjs', 'run', '--project', proof.project, proof.file, ...name]
}

const nameOf = (proof: Proof): string =>
  'row' in proof ? `row ${proof.row}` : `${proof.file}${proof.name === undefined ? '' : ` "${proof.name}"`}`

/** Red for the right reason: a test that failed, not one that could not run. */
async function isRed(
  workspace: Workspace,
  proof: Proof,
  seed: number,
): Promise<{ red: boolean; output: string }> {
  const { code, output } = await workspace.node(command(proof, seed), MINUTES_5)
  const ran = 'row' in proof ? /^(holds|FAILS) /m.test(output) : /Tests\s.*(passed|failed)/.test(output)
  if (!ran) throw new Error(`${nameOf(proof)} did not run:\n${output.slice(-3_000)}`)
  return { red: code !== 0, output }
}

async function check(workspace: Workspace, mutant: Mutant, times: number): Promise<boolean> {
  const healthy = await isRed(workspace, mutant.proof, 1)
  if (healthy.red) {
    say(`UNCLEAR  ${mutant.name}: ${nameOf(mutant.proof)} fails without it\n${healthy.output.slice(-2_000)}`)
    return false
  }
  await workspace.patch(mutant.patches)
  let caught = 0
  try {
    for (let seed = 1; seed <= times; seed++) {
      if ((await isRed(workspace, mutant.proof, seed)).red) caught += 1
    }
  } finally {
    await workspace.restore()
  }
  say(
    `${caught === times ? 'caught  ' : 'SURVIVES'}  ${mutant.name}: ${caught} of ${times} by ${nameOf(mutant.proof)}`,
  )
  return caught === times
}

const chosen = MUTANTS.filter(({ name }) => values.only === undefined || name.includes(values.only))
if (values.list) for (const mutant of chosen) say(`${mutant.name}: ${nameOf(mutant.proof)}`)
else {
  const workspace = await createWorkspace()
  try {
    let survivors = 0
    for (const mutant of chosen) if (!(await check(workspace, mutant, Number(values.times)))) survivors += 1
    say(`${chosen.length - survivors} of ${chosen.length} caught`)
    process.exitCode = survivors === 0 ? 0 : 1
  } finally {
    await workspace.remove()
  }
}
