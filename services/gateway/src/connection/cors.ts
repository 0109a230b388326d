import fastifyCors from '@fastify/cors'
import type { HttpServer } from '@parley/service-kit'

/** Browsers of the allowed origins may ask who is online. Sockets bring their own; see app.ts. */
export async function cors(app: HttpServer, isAllowed: (origin: string) => boolean): Promise<void> {
  await app.register(fastifyCors, {
    origin: (origin, done) => done(null, origin !== undefined && isAllowed(origin)),
    methods: ['GET', 'HEAD'],
    allowedHeaders: ['authorization', 'x-request-id'],
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
