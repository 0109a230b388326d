import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { messageOf, StackError } from './errors.ts'
import { guardProcess, releaseProcess } from './guard.ts'
import { until } from './wait.ts'

export type ProcessSpec = {
  /** `api-0`, `mongod-0`, … */
  name: string
  command: string
  args: string[]
  env: Record<string, string>
  cwd: string
  /** True when it can do its work now, else why not. Must settle within seconds and not throw. */
  readiness(): Promise<true | string>
  /** A sentence for a person when its last lines show a known mistake. */
  explain?(lines: readonly string[]): string | undefined
  readyTimeoutMs: number
  /** Start it again, on its port with its data, when it dies by itself. */
  supervise: boolean
  /** Told what a supervisor does, and what the process wrote if `forwardOutput`. */
  log(line: string): void
  forwardOutput: boolean
}

/** How a process ended: by itself with a code, or by a signal. */
export type Exit = { code: number | null; signal: NodeJS.Signals | null }

export type ManagedProcess = ReturnType<typeof createManagedProcess>

const keptLines = 200
const restartDelay = { firstMs: 50, maxMs: 2_000 }

/** One child process: started, stopped, killed, paused by name; its last 200 lines are kept for failure messages. */
export function createManagedProcess(spec: ProcessSpec) {
  const lines: string[] = []
  let child: ChildProcess | undefined
  let wanted = false
  /** It was ready once since `start`: before that a death is a failure to start, not something to repair. */
  let proven = false
  let deaths = 0
  let revival: NodeJS.Timeout | undefined

  let lastEnd = 'is not running'

  function keep(line: string): void {
    lines.push(line)
    if (lines.length > keptLines) lines.shift()
  }

  function hear(line: string): void {
    keep(line)
    if (spec.forwardOutput) spec.log(`${spec.name} | ${line}`)
  }

  function launch(): ChildProcess {
    const launched = spawn(spec.command, spec.args, {
      cwd: spec.cwd,
      env: spec.env,
      // A group of its own: Ctrl-C reaches it through this process, once.
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    child = launched
    const { pid } = launched
    if (pid !== undefined) guardProcess(pid)
    createInterface({ input: launched.stdout }).on('line', hear)
    createInterface({ input: launched.stderr }).on('line', hear)
    launched.once('error', (error) => {
      keep(`could not be started: ${messageOf(error)}`)
      if (pid === undefined) forget(launched, 'could not be started')
    })
    launched.once('exit', () => {
      if (pid !== undefined) releaseProcess(pid)
    })
    // Later than `exit`: by now its last words have been read.
    launched.once('close', (code, signal) => {
      forget(launched, signal ? `was ended by ${signal}` : `ended with code ${code}`)
    })
    return launched
  }

  function forget(gone: ChildProcess, how: string): void {
    if (child !== gone) return
    child = undefined
    lastEnd = how
    keep(`[${spec.name} ${how}]`)
    if (!isRevived()) return
    deaths += 1
    const delay = Math.min(restartDelay.maxMs, restartDelay.firstMs * 2 ** Math.min(deaths - 1, 10))
    spec.log(`${spec.name} ${how}; starting it again`)
    revival = setTimeout(() => {
      launch()
      void waitReady().then(
        () => {
          deaths = 0
          spec.log(`${spec.name} is back`)
        },
        (error: unknown) => {
          // A further death has a restart of its own under way; one that hangs is worth a line.
          if (wanted && child) spec.log(messageOf(error))
        },
      )
    }, delay)
  }

  function isRevived(): boolean {
    return spec.supervise && wanted && proven
  }

  function failure(what: string): StackError {
    const known = spec.explain?.(lines)
    if (known) return new StackError(known)
    const tail = lines.slice(-20).join('\n  ')
    return new StackError(`${spec.name} ${what}. Its last lines:\n  ${tail || '(none)'}`)
  }

  async function waitReady(timeoutMs = spec.readyTimeoutMs): Promise<void> {
    let reason = 'it does not run'
    await until(
      async () => {
        if (!child && !isRevived()) throw failure(lastEnd)
        if (!child) return undefined
        const readiness = await spec.readiness()
        if (readiness === true) return true
        reason = readiness
        return undefined
      },
      {
        timeoutMs,
        everyMs: 25,
        failure: () => failure(`was not ready after ${timeoutMs / 1000} s (${reason})`),
      },
    )
    proven = true
  }

  function gone(process: ChildProcess): Promise<void> {
    if (child !== process) return Promise.resolve()
    return new Promise((resolve) => process.once('close', () => resolve()))
  }

  function signal(name: NodeJS.Signals): void {
    if (!child) throw new StackError(`${spec.name} is not running.`)
    child.kill(name)
  }

  return {
    name: spec.name,
    get pid(): number | undefined {
      return child?.pid
    },
    /** Whether it is meant to run. */
    get wanted(): boolean {
      return wanted
    },
    /** The last lines it wrote, oldest first. */
    get lines(): readonly string[] {
      return lines
    },
    /** Starts it if it does not run. Resolves when it is ready; fails as soon as it dies without a supervisor. */
    async start(): Promise<void> {
      clearTimeout(revival)
      wanted = true
      if (!child) {
        proven = false
        launch()
      }
      await waitReady()
    },
    waitReady,
    /** Sends a signal and waits until the process is gone. A supervisor will start it again. */
    async kill(name: NodeJS.Signals = 'SIGKILL'): Promise<void> {
      const running = child
      signal(name)
      if (running) await gone(running)
    },
    /** SIGTERM, then SIGKILL after `graceMs`; it stays away. Resolves to how it ended; null: it did not run. */
    async stop(graceMs: number): Promise<Exit | null> {
      wanted = false
      clearTimeout(revival)
      const running = child
      if (!running) return null
      const timer = setTimeout(() => running.kill('SIGKILL'), graceMs)
      // One that was paused takes no SIGTERM before it goes on.
      running.kill('SIGTERM')
      running.kill('SIGCONT')
      await gone(running)
      clearTimeout(timer)
      return { code: running.exitCode, signal: running.signalCode }
    },
    /** SIGKILL and no restart, for what holds nothing worth a farewell. */
    async destroy(): Promise<void> {
      wanted = false
      clearTimeout(revival)
      const running = child
      running?.kill('SIGKILL')
      if (running) await gone(running)
    },
    pause: () => signal('SIGSTOP'),
    resume: () => signal('SIGCONT'),
  }
}
