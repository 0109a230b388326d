import rateLimit from '@fastify/rate-limit'
import underPressure from '@fastify/under-pressure'
import { participantKey, problem } from '@parley/contract'
import type { HttpServer } from '@parley/service-kit'
import type { Redis } from 'ioredis'
import { createRateLimitStore } from './rate-limit-store.ts'

export interface LimitOptions {
  redis: Redis
  /** Requests per minute and caller; 0: no limit. */
  restPerMinute: number
  /** Messages per minute and caller, from REST and sockets together; 0: no limit. */
  sendPerMinute: number
  /** For tests. */
  mostLateMs?: number
}

const MINUTE_MS = 60_000
/**
 * New work is turned away where the event loop is this many milliseconds late, on average over a second, and busy for
 * this share of its time: one that is late without being busy lacks a processor, which turning away does not give it.
 */
const MOST_LATE_MS = 500
const MOST_BUSY = 0.8

/**
 * Per caller: requests, and, counted apart, messages; a gateway sends with the client's own token, so a message counts
 * the same by either way. Per process: requests are turned away while it is overloaded.
 */
export async function limits(app: HttpServer, options: LimitOptions): Promise<void> {
  const { redis, restPerMinute, sendPerMinute, mostLateMs = MOST_LATE_MS } = options

  app.addHook('onRoute', (route) => {
    const permission = route.config?.permission
    if (permission === undefined || permission === 'open' || permission === 'service') {
      route.config = { ...route.config, rateLimit: false }
      return
    }
    const send = permission === 'message:create'
    const max = send ? sendPerMinute : restPerMinute
    const rateLimit = max === 0 ? (false as const) : { max, groupId: send ? ':send' : ':rest' }
    route.config = { ...route.config, rateLimit }
  })

  await app.register(rateLimit, {
    timeWindow: MINUTE_MS,
    enableDraftSpec: true,
    store: createRateLimitStore(redis),
    keyGenerator: ({ caller }) => `${caller.orgId}\n${participantKey(caller)}`,
    errorResponseBuilder: (_request, { ttl }) =>
      problem('rate_limited', { detail: 'Too many requests in this minute', retryAfter: ttl / 1_000 }),
  })

  await app.register(underPressure, {
    maxEventLoopDelay: mostLateMs,
    pressureHandler: ({ routeOptions }) =>
      routeOptions.config.permission === 'open' || (app.memoryUsage().eventLoopUtilized ?? 0) < MOST_BUSY
        ? undefined
        : Promise.reject(problem('overloaded', { retryAfter: 2 })),
  })
}
