import fastifyCors from '@fastify/cors'
import type { HttpServer } from './http-server.ts'

export interface CorsOptions {
  isAllowed(origin: string): boolean
  /** What a page may send: methods, and headers besides the token and the request id. */
  methods: string[]
  headers?: string[]
}

/** Browsers of the allowed origins may call the server, and read its request id and limits. */
export async function cors(
  app: HttpServer,
  { isAllowed, methods, headers = [] }: CorsOptions,
): Promise<void> {
  await app.register(fastifyCors, {
    origin: (origin, done) => done(null, origin !== undefined && isAllowed(origin)),
    methods,
    allowedHeaders: ['authorization', 'x-request-id', ...headers],
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
