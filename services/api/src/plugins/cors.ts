import fastifyCors from '@fastify/cors'
import { createOriginCheck, type HttpServer } from '@parley/service-kit'

export interface CorsOptions {
  origins: string[]
  production: boolean
}

/** Browsers of the allowed origins may call the api, and read its request id and limits. */
export async function cors(app: HttpServer, options: CorsOptions): Promise<void> {
  const isAllowed = createOriginCheck(options)
  await app.register(fastifyCors, {
    origin: (origin, done) => done(null, origin !== undefined && isAllowed(origin)),
    methods: ['GET', 'HEAD', 'POST', 'PUT', 'DELETE'],
    allowedHeaders: ['authorization', 'content-type', 'idempotency-key', 'x-request-id'],
    exposedHeaders: [
      'RateLimit-Limit',
      'RateLimit-Remaining',
      'RateLimit-Reset',
      'Retry-After',
      'X-Request-Id',
    ],
    maxAge: 600,
    strictPreflight: false,
  })
}
