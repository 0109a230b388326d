import { afterEach, beforeEach } from 'vitest'

/** A test prints nothing: what is written to the console during one fails it. */
const written: string[] = []

for (const method of ['log', 'info', 'warn', 'error', 'debug', 'trace'] as const) {
  console[method] = (...parts: unknown[]) => {
    written.push(`console.${method}: ${parts.map(String).join(' ').slice(0, 500)}`)
  }
}
for (const stream of [process.stdout, process.stderr]) {
  stream.write = (chunk: string | Uint8Array) => {
    written.push(String(chunk).slice(0, 500))
    return true
  }
}

beforeEach(failOnOutput)
afterEach(failOnOutput)

function failOnOutput(): void {
  if (written.length === 0) return
  const lines = written.splice(0).join('\n')
  throw new Error(`Printed during a test:\n${lines}`)
}
