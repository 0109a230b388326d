import type { Mutant, Proof } from './mutants.ts'
import type { Workspace } from './workspace.ts'

const MINUTES_5 = 5 * 60_000

export interface Verdict {
  /** Whether the test is green on the source as it is; otherwise its redness says nothing. */
  healthy: boolean
  /** Of so many runs on the broken source these were red. */
  caught: number
  /** The end of the last run's output. */
  output: string
}

function command(proof: Proof, seed: number): string[] {
  if ('row' in proof) {
    const soak = ['--conditions=@parley/source', 'tests/soak/main.ts']
    return [...soak, '--short', '--only', proof.row, '--seed', `${seed}`]
  }
  const name = proof.name === undefined ? [] : ['-t', proof.name]
  return ['node_modules/vitest/vitest.mjs', 'run', '--project', proof.project, proof.file, ...name]
}

export const nameOf = (proof: Proof): string =>
  'row' in proof ? `row ${proof.row}` : `${proof.file}${proof.name === undefined ? '' : ` "${proof.name}"`}`

/** Red for the right reason: a test that failed, not one that could not run. */
async function run(
  workspace: Workspace,
  proof: Proof,
  seed: number,
): Promise<{ red: boolean; output: string }> {
  const { exit, output } = await workspace.node(command(proof, seed), MINUTES_5)
  const ran = 'row' in proof ? /^(holds|FAILS) /m.test(output) : /Tests\s.*(passed|failed)/.test(output)
  if (!ran) throw new Error(`${nameOf(proof)} did not run (${exit}):\n${output.slice(-3_000)}`)
  return { red: exit !== 0, output }
}

/** Runs the mutant's proof on the source as it is, then so many times on the broken one. */
export async function prove(
  workspace: Workspace,
  { patches, proof }: Mutant,
  times: number,
): Promise<Verdict> {
  let { red, output } = await run(workspace, proof, 1)
  if (red) return { healthy: false, caught: 0, output }
  let caught = 0
  try {
    await workspace.patch(patches)
    for (let seed = 1; seed <= times; seed++) {
      ;({ red, output } = await run(workspace, proof, seed))
      if (red) caught += 1
    }
  } finally {
    await workspace.restore()
  }
  return { healthy: true, caught, output }
}
