import { parseArgs } from 'node:util'
import { MUTANTS } from './mutants.ts'
import { nameOf, prove } from './prove.ts'
import { createWorkspace } from './workspace.ts'

/**
 * Shows that the tests can fail: each deliberately broken variant of the source has to turn its named test red, three
 * times of three, and the source as it is has to leave it green.
 *
 * `node --conditions=@parley/source tests/mutants/main.ts [--only NAME] [--times N] [--list]`
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
const times = Number(values.times)
const chosen = MUTANTS.filter(({ name }) => values.only === undefined || name.includes(values.only))
if (values.list) for (const { name, proof } of chosen) say(`${name}: ${nameOf(proof)}`)
else {
  const workspace = await createWorkspace()
  try {
    let allCaught = 0
    for (const mutant of chosen) {
      const told = `${mutant.name}: by ${nameOf(mutant.proof)}`
      try {
        const { healthy, caught, output } = await prove(workspace, mutant, times)
        const isCaught = healthy && caught === times
        if (isCaught) allCaught += 1
        const verdict = isCaught ? 'caught  ' : healthy ? 'SURVIVES' : 'UNCLEAR '
        say(`${verdict}  ${told}, ${caught} of ${times}`)
        if (!healthy) say(`It fails without the mutant:\n${output.slice(-2_000)}`)
      } catch (error) {
        // The others have a verdict all the same.
        say(`UNCLEAR   ${told}: ${error instanceof Error ? error.message : error}`)
      }
    }
    say(`${allCaught} of ${chosen.length} caught`)
    process.exitCode = allCaught === chosen.length ? 0 : 1
  } finally {
    await workspace.remove()
  }
}
