import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { TRIALS } from '../soak/trials.ts'
import { MUTANTS, type Proof } from './mutants.ts'
import { patched } from './workspace.ts'

const source = (file: string) => readFile(join(import.meta.dirname, '..', '..', file), 'utf8')

async function hasProof(proof: Proof): Promise<boolean> {
  if ('row' in proof) return TRIALS.some(({ name }) => name === proof.row)
  const lines = (await source(proof.file)).split('\n')
  const { name = '' } = proof
  return lines.some((line) => /^\s*(test|it)[.(]/.test(line) && line.includes(name))
}

// Quick to see, where proving takes most of an hour: a mutant that fits nothing proves nothing.
test.each(MUTANTS)('fits the code, and its test is there: $name', async ({ patches, proof }) => {
  const texts = new Map<string, string>()
  for (const patch of patches) {
    const text = texts.get(patch.file) ?? (await source(patch.file))
    texts.set(patch.file, patched(text, patch))
  }
  expect(await hasProof(proof)).toBe(true)
})
