import type { ServiceVerifier, VerifiedToken, Verifier } from '@parley/auth'
import {
  cors,
  createHttpServer,
  createOriginCheck,
  type HttpServer,
  health,
  type Logger,
  type MetricsOptions,
  metrics,
  problemErrors,
  type Registry,
} from '@parley/service-kit'
import type { Redis } from 'ioredis'
import { conversationRoutes } from './conversations/routes.ts'
import { type IdentityRoutes, identityRoutes } from './identity/routes.ts'
import { internalRoutes } from './internal/routes.ts'
import { messageRoutes } from './messages/routes.ts'
import { openapi } from './openapi/plugin.ts'
import { authentication } from './plugins/authentication.ts'
import { limits } from './plugins/limits.ts'
import { securityHeaders } from './plugins/security-headers.ts'
import { strictRoutes } from './plugins/strict-routes.ts'
import { searchRoutes } from './search/routes.ts'
import type { Services } from './services.ts'
import { internalStreamRoutes } from './streams/routes.ts'
import { internalSummaryRoutes, summaryRoutes } from './summaries/routes.ts'

export interface ApiDependencies extends IdentityRoutes {
  logger: Logger
  production: boolean
  corsOrigins: string[]
  registry: Registry
  metricsListen: MetricsOptions['listen']
  isReady(): boolean
  degraded(): string[]
  verifier: Verifier
  serviceVerifier: ServiceVerifier
  seen(identity: VerifiedToken): void
  redis: Redis
  restPerMinute: number
  sendPerMinute: number
  services: Services
}

export async function buildApp(deps: ApiDependencies): Promise<HttpServer> {
  const { services, logger, registry } = deps
  const app = createHttpServer({ logger })

  problemErrors(app)
  await securityHeaders(app)
  await cors(app, {
    isAllowed: createOriginCheck({ origins: deps.corsOrigins, production: deps.production }),
    methods: ['GET', 'HEAD', 'POST', 'PUT', 'DELETE'],
    headers: ['content-type', 'idempotency-key'],
  })
  await openapi(app)
  authentication(app, deps)
  strictRoutes(app)
  await limits(app, deps)
  health(app, deps)
  await metrics(app, { registry, listen: deps.metricsListen })

  await app.register(identityRoutes, deps)
  await app.register(conversationRoutes, {
    prefix: '/conversations',
    conversations: services.conversations,
    lists: services.lists,
    participants: services.participants,
    history: services.history,
  })
  await app.register(summaryRoutes, {
    prefix: '/conversations',
    summaries: services.summaries,
    context: services.context,
  })
  await app.register(messageRoutes, {
    prefix: '/messages',
    messages: services.messages,
    deleteMessage: services.deleteMessage,
  })
  await app.register(searchRoutes, { prefix: '/messages', search: services.search })
  await app.register(internalRoutes, {
    gatewayReads: services.gatewayReads,
    agentReady: services.conversations.agentReady,
    revocations: deps.revocations,
  })
  await app.register(internalSummaryRoutes, {
    reader: services.work,
    write: services.writeSummary,
    queue: services.queue,
  })
  await app.register(internalStreamRoutes, { streams: services.streams })
  return app
}
