/** `npm start`: the stores and services on this machine, supervised, until Ctrl-C. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { openDataDir } from './cli/data-dir.ts'
import { readOptions, usage } from './cli/options.ts'
import { readyLine, welcome } from './cli/welcome.ts'
import { ambient, userEnvironment } from './environment.ts'
import { messageOf, StackError } from './errors.ts'
import { root } from './service.ts'
import { type Stack, type StackOptions, startStack } from './stack.ts'

/** Within the 5 s that Ctrl-C may take: services 3.5, stores 1.2. */
const serviceGraceMs = 3_500
const serviceShutdownMs = 3_000

/**
 * V8 grows its heap to suit the machine, not the work: with these the three services idle at 375 MB together (sum of
 * RSS) instead of 545. 512 MB each is still room for some ten thousand sockets.
 */
const smallHeap = ['--max-semi-space-size=2', '--max-old-space-size=512']

type Demo = { runDemo(stack: Stack, options: { out(line: string): void }): Promise<void> }

let stack: Stack | undefined
let release = async () => {}
let ending: Promise<void> | undefined

process.on('SIGINT', () => end(0))
process.on('SIGTERM', () => end(0))
process.on('SIGHUP', () => end(0))
// The launcher is gone, however it went.
process.on('disconnect', () => end(0))
process.on('uncaughtException', (error) => {
  say(error instanceof StackError ? error.message : (error.stack ?? String(error)))
  end(1)
})

await start()

async function start(): Promise<void> {
  const began = performance.now()
  const options = readOptions(process.argv.slice(2), join(root, '.parley'))
  if (options.help) {
    process.stdout.write(`${usage}\n`)
    process.exit(0)
  }
  const demo = options.demo ? await loadDemo() : undefined
  stack = await startStack({
    apiPort: options.apiPort,
    gatewayPort: options.gatewayPort,
    gateways: options.gateways,
    env: { ...serviceEnvironment() },
    nodeFlags: smallHeap,
    supervise: true,
    serviceOutput: true,
    log: say,
    ...givenStores(),
    ...(await dataOptions(options.dataDir)),
  })
  const seconds = ((performance.now() - began) / 1000).toFixed(1)
  const out = options.json ? say : (line: string) => process.stdout.write(`${line}\n`)
  if (options.json) process.stdout.write(`${readyLine(stack)}\n`)
  else if (demo) out(`Parley is ready after ${seconds} s: ${stack.apiUrl}, ${stack.gatewayUrls.join(', ')}`)
  else out(welcome(stack, options.dataDir, seconds))
  if (!demo) return
  await demo.runDemo(stack, { out })
  end(0)
}

/** Stops all that was started, then this process. Asked again, it leaves at once; the guard kills what is left. */
function end(code: number): void {
  if (ending) process.exit(1)
  ending = stop()
    .catch((error: unknown) => {
      say(messageOf(error))
      return 1
    })
    .then((failure) => process.exit(failure ?? code))
}

async function stop(): Promise<undefined> {
  await stack?.close(serviceGraceMs)
  await release()
  return undefined
}

async function dataOptions(dataDir: string | undefined): Promise<StackOptions> {
  const given = ambient.JWT_SECRET ? { jwtSecret: ambient.JWT_SECRET } : {}
  if (dataDir === undefined) return given
  const opened = await openDataDir(dataDir)
  release = opened.release
  return { dataDir, ...opened.settings, ...given }
}

/** Stores that the environment names are used as they are. */
function givenStores(): StackOptions {
  return {
    ...(ambient.MONGODB_URI && { mongodbUri: ambient.MONGODB_URI }),
    ...(ambient.REDIS_URL && { redisUrl: ambient.REDIS_URL }),
  }
}

function serviceEnvironment(): Record<string, string> {
  return { SHUTDOWN_TIMEOUT_MS: String(serviceShutdownMs), ...userEnvironment() }
}

async function loadDemo(): Promise<Demo> {
  const file = join(root, 'examples', 'demo.ts')
  if (!existsSync(file))
    throw new StackError('examples/demo.ts is missing from this clone: start without --demo.')
  return import(file)
}

function say(line: string): void {
  process.stderr.write(`${line}\n`)
}
