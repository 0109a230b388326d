import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'

it('needs nothing at run time but socket.io-client, so that it runs in browsers and stays small', () => {
  const folder = import.meta.dirname
  const files = readdirSync(folder).filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts'))
  expect(files).toContain('index.ts')
  const needed = new Set<string>()
  for (const name of files) {
    const source = readFileSync(join(folder, name), 'utf8')
    for (const [, kind, from = ''] of source.matchAll(
      /^(import|export)(?! type) [^'"]*? from '([^']+)'/gms,
    )) {
      if (kind && !from.startsWith('.')) needed.add(from)
    }
  }
  expect([...needed]).toEqual(['socket.io-client'])
})
