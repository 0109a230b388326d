import underPressure from '@fastify/under-pressure'
import { problem } from '@parley/contract'
import { type HttpServer, type RateLimitOptions, rateLimits } from '@parley/service-kit'

export interface LimitOptions extends Required<Omit<RateLimitOptions, 'callerOf'>> {
  /** For tests. */
  maxDelayMs?: number
}

/**
 * New work is turned away when the event loop is this many milliseconds late, on average over a second, and was busy
 * for this share of its time. A loop that is late without being busy is short of CPU, and turning work away would not
 * help.
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
