// The way in: `node scripts/bootstrap.mjs start|test|bench|soak`. Runs under any Node from 20 on, without a single
// dependency; finds or fetches a Node that runs TypeScript and pnpm, installs when something changed, then hands over.
import { spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { constants, homedir } from 'node:os'
import { basename, delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const nodeVersion = '24.21.0'
const pnpmVersion = '12.21.0'
const root = dirname(dirname(fileURLToPath(import.meta.url)))
const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'parley')
const stampFile = join(root, 'node_modules', '.parley-install')

const commands = {
  start: ['packages/devstack/src/start.ts'],
  test: ['scripts/test.ts'],
  bench: ['bench/main.ts'],
  soak: ['tests/soak/main.ts'],
}

/** A mistake that a person can put right; shown without a stack trace. */
class Sentence extends Error {}

try {
  main(process.argv.slice(2))
} catch (error) {
  if (!(error instanceof Sentence)) throw error
  say(error.message)
  process.exitCode = 1
}

function main([command, ...rest]) {
  const entry = commands[command]
  if (!entry)
    throw new Sentence(`Usage: node scripts/bootstrap.mjs ${Object.keys(commands).join('|')} [options]`)
  if (process.platform === 'win32') {
    throw new Sentence('Windows itself is not supported: run this in WSL, where it works as on Linux.')
  }
  if (!existsSync(join(root, ...entry))) throw new Sentence(`${entry[0]} is missing from this clone.`)
  const env = cleanEnvironment()
  const node = findNode(env)
  env.PATH = [dirname(node), env.PATH].join(delimiter)
  install(env)
  // pnpm hands the dashes of `pnpm bench -- B6` on; npm does not.
  const args = rest[0] === '--' ? rest.slice(1) : rest
  handOver(node, ['--conditions=@parley/source', join(root, ...entry), ...args], env)
}

function say(line) {
  process.stderr.write(`${line}\n`)
}

/** npm's own variables would make a program below believe that it is run by npm; where packages come from must stay. */
function cleanEnvironment() {
  const kept = [
    'cache',
    'registry',
    'userconfig',
    'globalconfig',
    'cafile',
    'proxy',
    'https_proxy',
    'noproxy',
  ]
  const env = {}
  for (const [name, value] of Object.entries(process.env)) {
    if (!name.startsWith('npm_') || kept.some((key) => name === `npm_config_${key}`)) env[name] = value
  }
  return env
}

// ── Node ────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** A Node 24 or later, else 22.19 or later if it is there; else Node 24 from its npm package, kept in the cache. */
function findNode(env) {
  const here = [process.execPath, ...env.PATH.split(delimiter).map((folder) => join(folder, 'node'))]
  const usable = [...new Set(here)]
    .map((path) => ({ path, version: path === process.execPath ? process.version : versionOf(path) }))
    .filter(({ version }) => isUsable(version))
  const best = usable.find(({ version }) => majorOf(version) >= 24)
  if (best) return best.path
  const folder = join(cache, `node-${nodeVersion}-${process.platform}-${process.arch}`)
  const name = `node-${process.platform}-${process.arch}`
  const program = join(folder, 'node_modules', name, 'bin', 'node')
  if (isUsable(versionOf(program))) return program
  if (usable[0]) return usable[0].path
  if (process.platform !== 'linux' || !['x64', 'arm64'].includes(process.arch)) {
    throw new Sentence(
      `Node 24 or later is needed and this is ${process.version}: install it (nodejs.org, nvm or your package manager) and run the same command again.`,
    )
  }
  fetchPackage(`${name}@${nodeVersion}`, folder, `Node ${nodeVersion} (50 MB)`, env)
  if (isUsable(versionOf(program))) return program
  throw new Sentence(
    `The Node ${nodeVersion} that npm offers does not run on this system: install Node 24 or later and run the same command again.`,
  )
}

/** Types are stripped from 22.18 on; undici asks for 22.19, vitest for an even major. */
function isUsable(version) {
  const [major = 0, minor = 0] = (version ?? '').replace('v', '').split('.').map(Number)
  return (major === 22 && minor >= 19) || major === 24 || major >= 26
}

function majorOf(version) {
  return Number(version.slice(1).split('.')[0])
}

function versionOf(program) {
  if (!existsSync(program)) return undefined
  const { status, stdout } = spawnSync(program, ['--version'], { encoding: 'utf8' })
  return status === 0 ? stdout.trim() : undefined
}

// ── Packages ────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Installs exactly what the lock file says, unless this clone has just that already. */
function install(env) {
  const stamp = stampOf()
  if (existsSync(stampFile) && readFileSync(stampFile, 'utf8') === stamp) return
  const pnpm = findPnpm(env)
  say('installing packages')
  const started = Date.now()
  const result = spawnSync(pnpm, ['install', '--frozen-lockfile', '--reporter=append-only'], {
    cwd: root,
    // As in CI: no question is asked, and no terminal is needed to answer it.
    env: { ...env, CI: 'true' },
    encoding: 'utf8',
    maxBuffer: 1 << 26,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  if (result.status !== 0) throw new Sentence(explainInstall(`${result.stdout}${result.stderr}`))
  writeFileSync(stampFile, stamp)
  say(`  done after ${((Date.now() - started) / 1000).toFixed(1)} s`)
}

/** Over the lock file, the workspace file and every package.json that it names. */
function stampOf() {
  const workspace = readFileSync(join(root, 'pnpm-workspace.yaml'), 'utf8')
  const patterns = /^packages: *\[([^\]]*)\]/m.exec(workspace)?.[1]?.split(',') ?? []
  const folders = patterns.flatMap((pattern) => {
    const [parent, all] = pattern.trim().split('/')
    if (all !== '*') return [pattern.trim()]
    const names = existsSync(join(root, parent)) ? readdirSync(join(root, parent)).sort() : []
    return names.map((name) => join(parent, name))
  })
  const hash = createHash('sha256')
  const manifests = ['.', ...folders].map((folder) => join(folder, 'package.json'))
  for (const file of ['pnpm-lock.yaml', 'pnpm-workspace.yaml', ...manifests]) {
    if (existsSync(join(root, file))) hash.update(`${file}\n`).update(readFileSync(join(root, file)))
  }
  return hash.digest('hex')
}

function findPnpm(env) {
  for (const folder of env.PATH.split(delimiter)) {
    const program = join(folder, 'pnpm')
    if (versionOf(program) === pnpmVersion) return program
  }
  const folder = join(cache, `pnpm-${pnpmVersion}-${process.platform}-${process.arch}`)
  const program = join(folder, 'node_modules', '.bin', 'pnpm')
  if (!existsSync(program)) fetchPackage(`pnpm@${pnpmVersion}`, folder, `pnpm ${pnpmVersion}`, env)
  return program
}

/** Puts an npm package into a folder of the cache, in one step: several processes may do so at once. */
function fetchPackage(requirement, folder, title, env) {
  const staging = `${folder}.${process.pid}.part`
  mkdirSync(staging, { recursive: true })
  say(`fetching ${title}; kept in ${cache} for the next time`)
  // The package file keeps npm from walking up to a project around the cache.
  writeFileSync(join(staging, 'package.json'), '{"private": true}\n')
  try {
    const [command, ...prefix] = npmCommand()
    const args = ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--no-package-lock', requirement]
    const result = spawnSync(command, [...prefix, ...args], { cwd: staging, env, encoding: 'utf8' })
    if (result.error)
      throw new Sentence('npm was not found: install Node with npm and run the same command again.')
    if (result.status !== 0) throw new Sentence(explainInstall(`${result.stdout}${result.stderr}`))
    rmSync(folder, { recursive: true, force: true })
    renameSync(staging, folder)
  } finally {
    rmSync(staging, { recursive: true, force: true })
  }
}

/** The npm that started this, else the one on the PATH. */
function npmCommand() {
  const script = process.env.npm_execpath
  return script && basename(script) === 'npm-cli.js' ? [process.execPath, script] : ['npm']
}

function explainInstall(output) {
  if (
    /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|dns error|error sending request/i.test(
      output,
    )
  ) {
    return 'The npm registry was not reached, and not all packages are in the cache: connect this machine and run the same command again.'
  }
  if (/ENOSPC|No space left/i.test(output))
    return 'The disk is full: make room and run the same command again.'
  if (/EACCES|EPERM|Permission denied/i.test(output)) {
    return `Files in ${root} or ${cache} could not be written: run this as the user who owns them.`
  }
  if (/OUTDATED_LOCKFILE/.test(output)) {
    return 'pnpm-lock.yaml does not fit the package.json files: run `pnpm install` and commit the lock file.'
  }
  return `Installing packages failed:\n${output.trim().split('\n').slice(-15).join('\n')}`
}

// ── The command ─────────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * Runs the command in a process group of its own: Ctrl-C reaches this process and npm, and one signal, the first, goes
 * on. A second one means "now".
 */
function handOver(node, args, env) {
  const child = spawn(node, args, { stdio: ['inherit', 'inherit', 'inherit', 'ipc'], detached: true, env })
  let signalled = false
  const forward = (signal) => {
    if (signalled) return
    signalled = true
    signalGroup(child, signal)
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => forward(signal))
  // npm killed with -9 tells nobody; its place as our parent is taken by another.
  const parent = process.ppid
  if (process.env.npm_lifecycle_event) {
    setInterval(() => process.ppid !== parent && forward('SIGTERM'), 500).unref()
  }
  child.once('error', (error) => {
    say(`${node} could not be started: ${error.message}`)
    process.exitCode = 1
  })
  child.once('exit', (code, signal) => {
    process.exit(code ?? 128 + (constants.signals[signal] ?? 0))
  })
}

function signalGroup(child, signal) {
  try {
    process.kill(-child.pid, signal)
  } catch (error) {
    // Gone already: its exit code is on the way.
    if (error.code !== 'ESRCH') throw error
  }
}
