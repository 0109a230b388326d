import { homedir } from 'node:os'
import { join } from 'node:path'

/** What a child needs to run at all; everything else that it gets, it gets by name. */
const essential = [
  'PATH',
  'HOME',
  'TMPDIR',
  'LANG',
  'LC_ALL',
  'TZ',
  'NODE_EXTRA_CA_CERTS',
  'SSL_CERT_FILE',
  'SSL_CERT_DIR',
]

/**
 * Set by the stack for each process. So is everything of tokens (`JWT_…`), or the services would refuse those that it
 * prints: what the caller's environment says about them is meant for others.
 */
const owned = ['HOST', 'PORT', 'METRICS_PORT', 'MONGODB_URI', 'REDIS_URL', 'API_URL', 'SERVICE_SECRET']
const ownedPrefixes = ['JWT_', 'npm_']

/** The environment this process was started with. The one place in the package that reads it. */
export const ambient: Readonly<NodeJS.ProcessEnv> = process.env

/** For services and stores: free of npm, vitest and whatever else the caller happens to have set. */
export function childEnvironment(): Record<string, string> {
  return pick((name) => essential.includes(name))
}

/** For services under `npm start`: what the person set, except npm's variables and those that the stack owns. */
export function userEnvironment(): Record<string, string> {
  return pick((name) => !owned.includes(name) && !ownedPrefixes.some((prefix) => name.startsWith(prefix)))
}

/** Where downloads are kept between runs and shared by all clones: `$XDG_CACHE_HOME/parley` or `~/.cache/parley`. */
export function cacheDirectory(): string {
  return join(ambient.XDG_CACHE_HOME || join(homedir(), '.cache'), 'parley')
}

function pick(wanted: (name: string) => boolean): Record<string, string> {
  const chosen: Record<string, string> = {}
  for (const [name, value] of Object.entries(ambient)) {
    if (value !== undefined && wanted(name)) chosen[name] = value
  }
  return chosen
}
