import { commonConfig, csv, jwtConfig, port, rate, whole } from '@parley/service-kit'
import { z } from 'zod'
import { ModelPrices } from './money/prices.ts'

/** What the api reads from its environment. */
export const ApiConfig = z.object({
  ...commonConfig,
  ...jwtConfig,
  PORT: port(3000),
  CORS_ORIGINS: csv(),
  MONGODB_URI: z
    .string('is required: mongodb://host:port/database')
    .regex(/^mongodb(\+srv)?:\/\//, 'must be a URL, mongodb://host:port/database'),
  /** Requests per minute and caller. */
  RATE_LIMIT_REST: rate(6_000),
  /** Messages per minute and caller, REST and sockets together. */
  RATE_LIMIT_SEND: rate(3_000),
  AGENT_HOP_LIMIT: whole(8, 1, 10_000),
  /** Milliseconds between searches for conversations whose summary is behind. */
  SUMMARY_RECONCILE_MS: whole(30_000, 100, 60_000),
  MODEL_PRICES: z
    .string()
    .transform((text, context) => {
      try {
        return JSON.parse(text) as unknown
      } catch {
        context.addIssue({
          code: 'custom',
          message: 'must be JSON: {"model": {"input": dollars, "output": dollars}}',
        })
        return z.NEVER
      }
    })
    .pipe(ModelPrices)
    .default({}),
})
export type ApiConfig = z.infer<typeof ApiConfig>
