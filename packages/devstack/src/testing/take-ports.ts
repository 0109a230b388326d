/** Takes many ports, says which in one line, and stays: for tests of processes that do so at the same moment. */
import { freePort } from '../ports.ts'

const ports: number[] = []
while (ports.length < 300) ports.push(await freePort())
process.stdout.write(`${JSON.stringify(ports)}\n`)
// Reservations alone keep nothing here alive.
setInterval(() => undefined, 60_000)
