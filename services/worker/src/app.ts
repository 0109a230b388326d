import {
  createHttpServer,
  type HttpServer,
  health,
  type Logger,
  type MetricsOptions,
  metrics,
  problemErrors,
  type Registry,
} from '@parley/service-kit'

export interface AppDependencies {
  logger: Logger
  registry: Registry
  metricsListen: MetricsOptions['listen']
  isReady(): boolean
  degraded(): string[]
}

/** The worker's own port: health and metrics, nothing else. */
export async function buildApp(deps: AppDependencies): Promise<HttpServer> {
  const app = createHttpServer({ logger: deps.logger })
  problemErrors(app)
  health(app, { isReady: deps.isReady, degraded: deps.degraded })
  await metrics(app, { registry: deps.registry, listen: deps.metricsListen })
  return app
}
