import rateLimit from '@fastify/rate-limit'
import { Caller, participantKey, problem } from '@parley/contract'
import type { FastifyRequest } from 'fastify'
import type { Redis } from 'ioredis'
import { z } from 'zod'
import type { HttpServer } from './http-server.ts'
import { createRateLimitStore } from './rate-limit-store.ts'

export interface RateLimitOptions {
  redis: Redis
  /** Requests per minute and caller, over all services; 0: no limit. */
  restPerMinute: number
  /** Messages per minute and caller, from REST and sockets together; 0: no limit. */
  sendPerMinute?: number
  /** The caller. Throws if not known. */
  callerOf(request: FastifyRequest): Caller | Promise<Caller>
}

const MINUTE_MS = 60_000

const keyOf = (caller: Caller): string => `${caller.orgId}\n${participantKey(caller)}`
const ForCaller = z.object({ caller: Caller })
/** By the caller that the body names, once it is validated. */
const byBody = {
  hook: 'preHandler',
  keyGenerator: ({ body }: FastifyRequest) => keyOf(ForCaller.parse(body).caller),
} as const

/**
 * Counts requests by their caller on all routes that need a token, and messages apart from all else. A gateway sends
 * with the client's own token, or names the caller where a streamed answer begins: a message counts the same in both.
 */
export async function rateLimits(app: HttpServer, options: RateLimitOptions): Promise<void> {
  const { redis, restPerMinute, sendPerMinute = 0, callerOf } = options

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
    store: createRateLimitStore(redis, { logger: app.log }),
    keyGenerator: async (request) => keyOf(await callerOf(request)),
    errorResponseBuilder: (_request, { ttl }) =>
      problem('rate_limited', { detail: 'Too many requests in this minute', retryAfter: ttl / 1_000 }),
  })
}
