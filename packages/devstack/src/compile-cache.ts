/**
 * Preloaded into services that run from their source. Node writes its compile cache only when a process ends by
 * itself; most of ours are killed.
 */
import { flushCompileCache } from 'node:module'

setTimeout(flushCompileCache, 5_000).unref()
