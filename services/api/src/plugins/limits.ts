import rateLimit from '@fastify/rate-limit'
import underPressure from '@fastify/under-pressure'
import { Caller, participantKey, problem } from '@parley/contract'
import type { HttpServer } from '@parley/service-kit'
import type { FastifyRequest } from 'fastify'
import type { Redis } from 'ioredis'
import { z } from 'zod'
import { createRateLimitStore } from './rate-limit-store.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** A service's route that stores a message for the caller in its body, against whose limit it counts. */
    sends?: true
  }
}

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

const keyOf = (caller: Caller): string => `${caller.orgId}\n${participantKey(caller)}`
const ForCaller = z.object({ caller: Caller })
/** Once the body is known to be what it should be. */
const byBody = {
  hook: 'preHandler',
  keyGenerator: ({ body }: FastifyRequest) => keyOf(ForCaller.parse(body).caller),
} as const

/**
 * Per caller: requests, and, counted apart, messages; a gateway sends with the client's own token, or names them where
 * a streamed answer begins, so a message counts the same by every way. Per process: requests are turned away while it
 * is overloaded.
 */
export async function limits(app: HttpServer, options: LimitOptions): Promise<void> {
  const { redis, restPerMinute, sendPerMinute, mostLateMs = MOST_LATE_MS } = options

  app.addHook('onRoute', (route) => {
    const { permission, sends = permission === 'message:create' } = route.config ?? {}
    const isService = permission === 'service'
    const max = sends ? sendPerMinute : restPerMinute
    const isFree = permission === undefined || permission === 'open' || (isService && !sends) || max === 0
    const limit = { max, groupId: sends ? ':send' : ':rest', ...(isService ? byBody : {}) }
    route.config = { ...route.config, rateLimit: isFree ? false : limit }
  })

  await app.register(rateLimit, {
    timeWindow: MINUTE_MS,
    enableDraftSpec: true,
    store: createRateLimitStore(redis),
    keyGenerator: ({ caller }) => keyOf(caller),
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
