import underPressure from '@fastify/under-pressure'
import { problem } from '@parley/contract'
import { type HttpServer, type RateLimitOptions, rateLimits } from '@parley/service-kit'

export interface LimitOptions extends Required<Omit<RateLimitOptions, 'callerOf'>> {
  /** For tests. */
  maxDelayMs?: number
}

/**
 * New work is turned away where the event loop is this many milliseconds late, on average over a second, and busy for
 * this share of its time: one that is late without being busy lacks a processor, which turning away does not give it.
 */
const MAX_DELAY_MS = 500
const MAX_UTILIZATION = 0.8

/** Per caller: requests and messages. Per process: requests are turned away while it is overloaded. */
export async function limits(app: HttpServer, options: LimitOptions): Promise<void> {
  const { maxDelayMs = MAX_DELAY_MS } = options
  await rateLimits(app, { ...options, callerOf: ({ caller }) => caller })
  await app.register(underPressure, {
    maxEventLoopDelay: maxDelayMs,
    pressureHandler: ({ routeOptions }) =>
      routeOptions.config.permission === 'open' ||
      (app.memoryUsage().eventLoopUtilized ?? 0) < MAX_UTILIZATION
        ? undefined
        : Promise.reject(problem('overloaded', { retryAfter: 2 })),
  })
}
