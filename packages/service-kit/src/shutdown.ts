import type { Logger } from './logging.ts'

interface Phase {
  name: string
  timeoutMs: number
  run: () => Promise<unknown> | unknown
}

export interface Shutdown {
  /** Adds a phase: they run in the order added, each for at most `timeoutMs` milliseconds. */
  phase(name: string, timeoutMs: number, run: () => Promise<unknown> | unknown): void
  /**
   * Runs the phases once; further calls wait for the same run. Never rejects: what fails is logged, the rest goes on.
   */
  run(): Promise<void>
  /** True from the moment it begins. */
  readonly draining: boolean
}

const elapsed = (ms: number): { done: Promise<'timeout'>; cancel: () => void } => {
  const { promise, resolve } = Promise.withResolvers<'timeout'>()
  const timer = setTimeout(resolve, ms, 'timeout')
  return { done: promise, cancel: () => clearTimeout(timer) }
}

/** An orderly end in named phases that together take at most `timeoutMs` milliseconds. */
export function createShutdown({ logger, timeoutMs }: { logger: Logger; timeoutMs: number }): Shutdown {
  const phases: Phase[] = []
  let running: Promise<void> | undefined

  async function runPhase({ name, timeoutMs: limit, run }: Phase, remaining: number): Promise<void> {
    const timer = elapsed(Math.max(0, Math.min(limit, remaining)))
    try {
      const outcome = await Promise.race([Promise.resolve().then(run), timer.done])
      if (outcome === 'timeout') logger.warn({ phase: name }, 'shutdown phase took too long')
    } catch (error) {
      logger.error({ phase: name, err: error }, 'shutdown phase failed')
    } finally {
      timer.cancel()
    }
  }

  async function runAll(): Promise<void> {
    const end = performance.now() + timeoutMs
    for (const phase of phases) await runPhase(phase, end - performance.now())
  }

  return {
    phase: (name, limit, run) => {
      phases.push({ name, timeoutMs: limit, run })
    },
    run: () => {
      running ??= runAll()
      return running
    },
    get draining() {
      return running !== undefined
    },
  }
}
