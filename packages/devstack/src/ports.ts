import { randomInt } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { createServer } from 'node:net'
import { codeOf, StackError } from './errors.ts'

/**
 * Below the range from which systems take ports for outgoing connections: a process that was killed finds its port
 * still free when it comes back.
 */
const range = { from: 20_000, to: 32_000 }

/** Whether 127.0.0.1:`port` can be listened on now. */
export function isPortFree(port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const probe = createServer()
    probe.once('error', (error) => {
      const code = codeOf(error)
      if (code === 'EADDRINUSE' || code === 'EACCES') resolve(false)
      else reject(error)
    })
    probe.listen({ port, host: '127.0.0.1', exclusive: true }, () => probe.close(() => resolve(true)))
  })
}

/**
 * Keeps the port from all others that look for one, as long as this process lives, and says whether it was the first:
 * between a choice and the moment somebody listens there lie seconds, as between a death and the next start. Kept by
 * its namesake for UDP, which nobody here speaks.
 */
function reserve(port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const namesake = createSocket('udp4').unref()
    namesake.once('error', (error) => {
      namesake.close()
      const code = codeOf(error)
      if (code === 'EADDRINUSE' || code === 'EACCES') resolve(false)
      else reject(error)
    })
    namesake.bind({ port, address: '127.0.0.1', exclusive: true }, () => resolve(true))
  })
}

/** A free port that is handed out only once, whichever process asks. */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < 200; attempt += 1) {
    const port = randomInt(range.from, range.to)
    if ((await isPortFree(port)) && (await reserve(port))) return port
  }
  throw new StackError(
    `No free port found on 127.0.0.1 between ${range.from} and ${range.to}: stop some servers and try again.`,
  )
}

/** The port a person asked for, or a sentence that says it is taken and which option moves it. */
export async function claimPort(port: number, what: string, option: string): Promise<number> {
  if (await isPortFree(port)) return port
  throw new StackError(
    `Port ${port}, wanted for the ${what}, is in use: stop what listens there or choose another with ${option}.`,
  )
}
