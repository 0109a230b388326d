import { extname, join } from 'node:path'
import { childEnvironment } from './environment.ts'
import { messageOf } from './errors.ts'
import type { ProcessSpec } from './managed-process.ts'

export type ServiceKind = 'api' | 'gateway' | 'worker'

/** The folder of the clone: the devstack runs services by their path, so that it depends on none of them. */
export const root = join(import.meta.dirname, '..', '..', '..')

/** Stripped and compiled sources, kept between starts: half the CPU of a boot. */
const compileCache = join(root, 'node_modules', '.cache', 'compile')
const preload = new URL(`./compile-cache${extname(import.meta.filename)}`, import.meta.url).href
const fromSource = ['--conditions=@parley/source', '--import', preload]

/**
 * A gateway mostly holds connections. Left alone, Node lets its young objects have 134 MB while thousands connect, and
 * keeps that (measured with 5,000, whose own objects were 72 MB); with 33 MB it works as well.
 */
export const GATEWAY_FLAGS = ['--max-semi-space-size=16']

/** One of the three services as a process on 127.0.0.1:`port`, from its source or, if `built`, from `dist/`. */
export function serviceSpec(options: {
  kind: ServiceKind
  name: string
  port: number
  built: boolean
  nodeFlags: string[]
  env: Record<string, string>
  supervise: boolean
  forwardOutput: boolean
  log(line: string): void
}): ProcessSpec {
  const { kind, name, port, built, nodeFlags, env, supervise, forwardOutput, log } = options
  const main = join(root, 'services', kind, built ? 'dist/main.js' : 'src/main.ts')
  return {
    name,
    command: process.execPath,
    args: [...(kind === 'gateway' ? GATEWAY_FLAGS : []), ...nodeFlags, ...(built ? [] : fromSource), main],
    env: {
      ...childEnvironment(),
      ...(!built && { NODE_COMPILE_CACHE: compileCache }),
      ...env,
      HOST: '127.0.0.1',
      PORT: String(port),
    },
    cwd: root,
    readiness: () => readiness(port),
    readyTimeoutMs: 60_000,
    supervise,
    log,
    forwardOutput,
  }
}

async function readiness(port: number): Promise<true | string> {
  try {
    const answer = await fetch(`http://127.0.0.1:${port}/health/ready`, {
      signal: AbortSignal.timeout(2_000),
    })
    const body = await answer.text()
    return answer.status === 200 || `${answer.status} ${body.slice(0, 300)}`
  } catch (error) {
    // Not listening yet, or paused: the caller asks again until its own deadline.
    return `port ${port} does not answer: ${messageOf(error)}`
  }
}
