import {
  cors,
  createHttpServer,
  type HttpServer,
  type Logger,
  metrics,
  metricsListen,
  problemErrors,
  type Registry,
} from '@parley/service-kit'
import { asyncApiRoutes } from './asyncapi/routes.ts'
import type { GatewayConfig } from './config.ts'

/** The HTTP server, with the routes that are open to all and need nothing else of the gateway. */
export async function openHttp({
  config,
  logger,
  registry,
  isAllowedOrigin,
}: {
  config: GatewayConfig
  logger: Logger
  registry: Registry
  isAllowedOrigin(origin: string): boolean
}): Promise<HttpServer> {
  const app = createHttpServer({ logger })
  problemErrors(app)
  await cors(app, { isAllowed: isAllowedOrigin, methods: ['GET', 'HEAD'] })
  await metrics(app, { registry, listen: metricsListen(config) })
  asyncApiRoutes(app)
  return app
}
