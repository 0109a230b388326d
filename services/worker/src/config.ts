import { LIMITS } from '@parley/contract'
import { commonConfig, httpUrls, port, whole } from '@parley/service-kit'
import { z } from 'zod'

export const WorkerConfig = z
  .object({
    ...commonConfig,
    PORT: port(3010),
    API_URL: httpUrls(),
    /** Base address of an OpenAI-compatible interface; without it summaries are extractive. */
    SUMMARY_MODEL_URL: z.url({ protocol: /^https?$/, error: 'must be an http(s) URL' }).optional(),
    SUMMARY_MODEL: z
      .string()
      .max(LIMITS.opaque, { error: `must be at most ${LIMITS.opaque} characters` })
      .optional(),
    SUMMARY_API_KEY: z.string().optional(),
    /** Characters. */
    SUMMARY_LENGTH: whole(2_000, 200, 16_000),
    /** For one summary by the model, retries included. */
    SUMMARY_TIMEOUT_MS: whole(60_000, 100, 600_000),
    /** Conversations at a time. */
    SUMMARY_CONCURRENCY: whole(4, 1, 100),
    /** After this long without a sign of life a worker's job goes to another. */
    SUMMARY_LOCK_MS: whole(30_000, 500, 600_000),
  })
  .refine((config) => (config.SUMMARY_MODEL_URL === undefined) === (config.SUMMARY_MODEL === undefined), {
    path: ['SUMMARY_MODEL'],
    message: 'and SUMMARY_MODEL_URL must be set together',
  })
export type WorkerConfig = z.infer<typeof WorkerConfig>
