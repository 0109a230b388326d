import { z } from 'zod'

/** The environment does not make a usable configuration. The message names every faulty variable and what it may be. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
}

const SECRET_BYTES = 32

/** A TCP port; 0 lets the system choose. */
export const port = (fallback: number) =>
  z
    .string()
    .regex(/^\d{1,5}$/, 'must be a port, 0 to 65535')
    .transform(Number)
    .pipe(z.int().max(65_535, 'must be a port, 0 to 65535'))
    .default(fallback)

/** `true` or `false`; false if not set. */
const flag = () =>
  z
    .enum(['true', 'false'], 'must be true or false')
    .transform((text) => text === 'true')
    .default(false)

/** A comma-separated list; empty if not set. */
export const csv = () =>
  z
    .string()
    .transform((text) =>
      text
        .split(',')
        .map((part) => part.trim())
        .filter((part) => part !== ''),
    )
    .default([])

/** A whole number within bounds. */
export const whole = (fallback: number, min = 0, max = 1_000_000_000) =>
  z
    .string()
    .regex(/^\d{1,10}$/, `must be a whole number, ${min} to ${max}`)
    .transform(Number)
    .pipe(z.int().min(min, `must be at least ${min}`).max(max, `must be at most ${max}`))
    .default(fallback)

/** A limit per some time; 0 switches it off. */
export const rate = (fallback: number) => whole(fallback)

/** A key for HMAC: at least 32 bytes, no default. */
const secret = () =>
  z
    .string('is required: at least 32 bytes, for example from `openssl rand -base64 48`')
    .refine((text) => Buffer.byteLength(text) >= SECRET_BYTES, 'must be at least 32 bytes')

const redisUrl = () =>
  z
    .string('is required: redis://host:port')
    .regex(/^rediss?:\/\//, 'must be a URL, redis://host:port or rediss://host:port')

/** One or more http(s) URLs, comma-separated. */
export const httpUrls = () =>
  csv()
    .pipe(z.array(z.url({ protocol: /^https?$/, error: 'must be http(s) URLs, separated by commas' })))
    .refine((urls) => urls.length > 0, 'is required: http://host:port, several separated by commas')

/** What every service reads. Spread into `z.object({ ...commonConfig, PORT: port(3000) })`. */
export const commonConfig = {
  NODE_ENV: z.string().default('development'),
  HOST: z.string().default('127.0.0.1'),
  LOG_LEVEL: z
    .enum(
      ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'],
      'must be fatal, error, warn, info, debug, trace or silent',
    )
    .default('info'),
  SHUTDOWN_TIMEOUT_MS: whole(25_000, 100, 600_000),
  METRICS_PORT: port(0).unwrap().optional(),
  REDIS_URL: redisUrl(),
  REDIS_STREAMS_URL: redisUrl().optional(),
  REDIS_QUEUE_URL: redisUrl().optional(),
  SERVICE_SECRET: secret(),
}

/** How users' tokens are verified. Rules over several of these are checked by {@link loadConfig}. */
export const jwtConfig = {
  JWT_SECRET: secret().optional(),
  JWT_JWKS_URL: z.url({ protocol: /^https?$/, error: 'must be an http(s) URL' }).optional(),
  JWT_PUBLIC_KEY: z
    .string()
    .includes('-----BEGIN', 'must be a public key in PEM form')
    .transform((pem) => pem.replaceAll('\\n', '\n'))
    .optional(),
  JWT_ISSUER: z.string().optional(),
  JWT_AUDIENCE: csv(),
  JWT_AUTHORIZED_PARTIES: csv(),
  JWT_CLAIM_ORG: z.string().optional(),
  JWT_CLAIM_TYPE: z.string().optional(),
  JWT_CLAIM_ROLES: z.string().optional(),
  JWT_ROLE_ADMIN: z.string().default('admin'),
  JWT_DEFAULT_ORG: z.string().optional(),
  AUTH_DEV_TOKENS: flag(),
}

const JwtRules = z.object({
  NODE_ENV: z.string(),
  JWT_SECRET: z.string().optional(),
  JWT_JWKS_URL: z.string().optional(),
  JWT_PUBLIC_KEY: z.string().optional(),
  JWT_ISSUER: z.string().optional(),
  JWT_AUDIENCE: z.array(z.string()),
  JWT_AUTHORIZED_PARTIES: z.array(z.string()),
  AUTH_DEV_TOKENS: z.boolean(),
})

/** Faults that involve several variables. */
function jointFaults(config: unknown): string[] {
  const faults: string[] = []
  const secrets = z.object({ JWT_SECRET: z.string(), SERVICE_SECRET: z.string() }).safeParse(config)
  if (secrets.success && secrets.data.JWT_SECRET === secrets.data.SERVICE_SECRET) {
    faults.push('SERVICE_SECRET must differ from JWT_SECRET')
  }
  const { data: jwt } = JwtRules.safeParse(config)
  if (!jwt) return faults
  const keys = [jwt.JWT_SECRET, jwt.JWT_JWKS_URL, jwt.JWT_PUBLIC_KEY].filter((key) => key !== undefined)
  if (keys.length !== 1) {
    faults.push('exactly one of JWT_SECRET (at least 32 bytes), JWT_JWKS_URL and JWT_PUBLIC_KEY must be set')
  }
  if (jwt.AUTH_DEV_TOKENS && jwt.JWT_SECRET === undefined) {
    faults.push('AUTH_DEV_TOKENS=true needs JWT_SECRET, which it signs with')
  }
  if (jwt.NODE_ENV === 'production') {
    if (jwt.AUTH_DEV_TOKENS) faults.push('AUTH_DEV_TOKENS must not be true with NODE_ENV=production')
    if (!jwt.JWT_ISSUER) faults.push('JWT_ISSUER is required with NODE_ENV=production')
    if (jwt.JWT_AUDIENCE.length === 0 && jwt.JWT_AUTHORIZED_PARTIES.length === 0) {
      faults.push('JWT_AUDIENCE or JWT_AUTHORIZED_PARTIES is required with NODE_ENV=production')
    }
  }
  return faults
}

const Ports = z.object({ PORT: z.number().min(1), METRICS_PORT: z.number() })

/** A METRICS_PORT that is the service's own port counts as not set: metrics are there anyway. */
function withMetricsPort<C>(config: C): C {
  const { data: ports } = Ports.safeParse(config)
  return ports && ports.METRICS_PORT === ports.PORT ? { ...config, METRICS_PORT: undefined } : config
}

/**
 * The configuration of a service from its environment, checked as a whole. An empty variable counts as not set.
 * Values never appear in the message: they may be secrets.
 */
export function loadConfig<S extends z.ZodType>(schema: S, env: NodeJS.ProcessEnv): z.infer<S> {
  const given = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== ''))
  const result = schema.safeParse(given)
  const faults = result.success
    ? jointFaults(result.data)
    : result.error.issues.map((issue) => `${issue.path[0]?.toString() ?? 'environment'} ${issue.message}`)
  if (!result.success || faults.length > 0) throw new ConfigError([...new Set(faults)].join('; '))
  return withMetricsPort(result.data)
}
