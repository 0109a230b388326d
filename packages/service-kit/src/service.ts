import { ConfigError } from './config.ts'
import type { Shutdown } from './shutdown.ts'

/** After an uncaught error, the orderly shutdown gets this long. */
const CRASH_TIMEOUT_MS = 5_000

const sentence = (error: unknown): string => (error instanceof Error ? error.message : String(error))

/**
 * The frame of a service's `main.ts`. `boot` reads its configuration from `env`, starts everything and returns the
 * phases of its end. A failed boot exits 1 with one message; SIGTERM and SIGINT run the phases and exit 0; an uncaught
 * error runs them too, and exits 1: nothing continues in an unknown state.
 */
export function runService(
  name: string,
  boot: (context: { env: NodeJS.ProcessEnv }) => Promise<Shutdown>,
): void {
  let shutdown: Shutdown | undefined
  let ending = false

  async function end(exitCode: number): Promise<void> {
    if (ending) return
    ending = true
    if (exitCode !== 0) setTimeout(() => process.exit(exitCode), CRASH_TIMEOUT_MS)
    await shutdown?.run()
    process.exit(exitCode)
  }

  function crash(error: unknown): void {
    const detail = error instanceof Error ? (error.stack ?? error.message) : String(error)
    process.stderr.write(`${name}: uncaught: ${detail}\n`)
    void end(1)
  }

  process.on('SIGTERM', () => void end(0))
  process.on('SIGINT', () => void end(0))
  process.on('uncaughtException', crash)
  process.on('unhandledRejection', crash)

  boot({ env: process.env }).then(
    (started) => {
      shutdown = started
    },
    (error: unknown) => {
      const kind = error instanceof ConfigError ? 'configuration' : 'cannot start'
      process.stderr.write(`${name}: ${kind}: ${sentence(error)}\n`)
      process.exit(1)
    },
  )
}
