import type { ServiceVerifier, VerifiedToken, Verifier } from '@parley/auth'
import {
  createHttpServer,
  type HttpServer,
  health,
  type Logger,
  metrics,
  problemErrors,
  type Registry,
} from '@parley/service-kit'
import type { Redis } from 'ioredis'
import { type IdentityRoutes, identityRoutes } from './identity/routes.ts'
import { messageRoutes } from './messages/routes.ts'
import type { MessageService } from './messages/service.ts'
import { openapi } from './openapi/plugin.ts'
import { authentication } from './plugins/authentication.ts'
import { cors } from './plugins/cors.ts'
import { limits } from './plugins/limits.ts'
import { securityHeaders } from './plugins/security-headers.ts'
import { strictRoutes } from './plugins/strict-routes.ts'
import { searchRoutes } from './search/routes.ts'
import type { Search } from './search/service.ts'

export interface ApiDependencies extends IdentityRoutes {
  logger: Logger
  production: boolean
  corsOrigins: string[]
  trustProxy: string | undefined
  registry: Registry
  metricsListen: { host: string; port: number } | undefined
  isReady(): boolean
  degraded(): string[]
  verifier: Verifier
  serviceVerifier: ServiceVerifier
  seen(identity: VerifiedToken): void
  redis: Redis
  restPerMinute: number
  sendPerMinute: number
  messages: MessageService
  search: Search
}

export async function buildApp(deps: ApiDependencies): Promise<HttpServer> {
  const app = createHttpServer({
    logger: deps.logger,
    ...(deps.trustProxy === undefined ? {} : { trustProxy: deps.trustProxy }),
  })
  problemErrors(app)
  await securityHeaders(app)
  await cors(app, { origins: deps.corsOrigins, production: deps.production })
  await openapi(app)
  authentication(app, deps)
  strictRoutes(app)
  await limits(app, deps)

  health(app, deps)
  await metrics(app, {
    registry: deps.registry,
    ...(deps.metricsListen ? { listen: deps.metricsListen } : {}),
  })
  await app.register(identityRoutes, deps)
  await app.register(messageRoutes, { prefix: '/messages', messages: deps.messages })
  await app.register(searchRoutes, { prefix: '/messages', search: deps.search })
  return app
}
