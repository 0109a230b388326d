import helmet, { type FastifyHelmetOptions } from '@fastify/helmet'
import type { HttpServer } from '@parley/service-kit'
import { fastify } from 'fastify'

/** No response of the api may run scripts, load anything or be framed. */
const API: FastifyHelmetOptions = {
  contentSecurityPolicy: {
    useDefaults: false,
    directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] },
  },
  // CORS decides about origins; without this, browsers would block what CORS allows.
  crossOriginResourcePolicy: { policy: 'cross-origin' },
}

/** The reference is a page with scripts and styles of its own, inlined; it loads nothing from elsewhere. */
const DOCS: FastifyHelmetOptions = {
  contentSecurityPolicy: {
    useDefaults: false,
    directives: {
      defaultSrc: ["'self'"],
      scriptSrc: ["'self'", "'unsafe-inline'", "'unsafe-eval'"],
      styleSrc: ["'self'", "'unsafe-inline'"],
      imgSrc: ["'self'", 'data:', 'blob:'],
      fontSrc: ["'self'", 'data:'],
      connectSrc: ["'self'"],
      frameAncestors: ["'none'"],
    },
  },
}

/** The headers that helmet would set: it works them out on each request, and they are the same each time. */
async function headersOf(options: FastifyHelmetOptions): Promise<Record<string, string>> {
  const probe = fastify()
  await probe.register(helmet, { ...options, global: false })
  probe.get('/bare', async () => '')
  probe.get('/', { helmet: {} }, async () => '')
  const [bare, dressed] = await Promise.all([probe.inject('/bare'), probe.inject('/')])
  await probe.close()
  return Object.fromEntries(
    Object.entries(dressed.headers).flatMap(([name, value]) =>
      name in bare.headers || value === undefined ? [] : [[name, String(value)]],
    ),
  )
}

export async function securityHeaders(app: HttpServer): Promise<void> {
  const [api, docs] = await Promise.all([headersOf(API), headersOf(DOCS)])
  app.addHook('onRequest', (request, reply, done) => {
    const isDocs = request.routeOptions.url?.startsWith('/docs') ?? false
    reply.headers(isDocs ? docs : api)
    done()
  })
}
