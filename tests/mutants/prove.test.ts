import { afterAll, beforeAll, expect, test } from 'vitest'
import { MUTANTS } from './mutants.ts'
import { prove } from './prove.ts'
import { createWorkspace, type Workspace } from './workspace.ts'

let workspace: Workspace
beforeAll(async () => {
  workspace = await createWorkspace()
})
afterAll(() => workspace?.remove())

// The two that are quick to show; `tests/mutants/main.ts` shows them all.
test.each(['no gap fill', 'publish before commit'])(
  'the tests go red with: %s',
  async (name) => {
    const mutant = MUTANTS.find((one) => one.name === name)
    if (!mutant) throw new Error('no such mutant')
    expect(await prove(workspace, mutant, 1)).toMatchObject({ healthy: true, caught: 1 })
  },
  180_000,
)
