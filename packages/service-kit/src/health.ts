import { problem } from '@parley/contract'
import { z } from 'zod'
import type { HttpServer } from './http-server.ts'

const Health = z
  .strictObject({ status: z.enum(['live', 'ready']), degraded: z.array(z.string()).optional() })
  .meta({ id: 'Health' })

export interface HealthOptions {
  /** False only while starting or draining. A shared store that is away must not take every process out of service. */
  isReady(): boolean
  /** Names of dependencies that are away. */
  degraded(): string[]
}

/** `GET /health/live` and `GET /health/ready`, open to all. */
export function health(app: HttpServer, { isReady, degraded }: HealthOptions): void {
  app.get(
    '/health/live',
    { config: { permission: 'open' }, schema: { response: { 200: Health } } },
    async () => ({ status: 'live' as const }),
  )
  app.get(
    '/health/ready',
    { config: { permission: 'open' }, schema: { response: { 200: Health } } },
    async () => {
      if (!isReady()) throw problem('unavailable', { detail: 'Starting or draining', retryAfter: 1 })
      return { status: 'ready' as const, degraded: degraded() }
    },
  )
}
