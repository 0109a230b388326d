import { commonConfig, csv, httpUrls, jwtConfig, port, rate } from '@parley/service-kit'
import { z } from 'zod'

/** What the gateway reads from its environment. */
export const GatewayConfig = z.object({
  ...commonConfig,
  ...jwtConfig,
  PORT: port(3003),
  API_URL: httpUrls(),
  CORS_ORIGINS: csv(),
  /** Requests per minute and caller; the api counts them too. */
  RATE_LIMIT_REST: rate(6_000),
  /** Events per second and socket. */
  RATE_LIMIT_EVENTS: rate(100),
  /** Connections per minute and person. */
  RATE_LIMIT_CONNECT: rate(120),
})
export type GatewayConfig = z.infer<typeof GatewayConfig>
