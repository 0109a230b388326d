/** Starts stores, says so in one line, and stays: for tests of what is left when it is killed. */
import { startStack } from '../stack.ts'

const stack = await startStack({ services: false })
process.stdout.write(`${JSON.stringify({ pids: stack.pids, dataDir: stack.dataDir })}\n`)
// The stores alone keep nothing here alive.
setInterval(() => undefined, 60_000)
