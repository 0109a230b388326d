import { createServer } from 'node:http'
import { collectDefaultMetrics, Histogram, Registry } from 'prom-client'
import type { HttpServer } from './http-server.ts'

export { Counter, Gauge, Histogram, Registry } from 'prom-client'

/** A registry with the process's own figures: CPU, memory, event loop, garbage collection. */
export function createRegistry(service: string): Registry {
  const registry = new Registry()
  registry.setDefaultLabels({ service })
  // The sampler of the event loop wakes the process up: at its default of every 10 ms that is most of what an idle
  // gateway does. Once a second costs nothing, but its figures contain that second: they are left out. What remains,
  // `nodejs_eventloop_lag_seconds`, is measured when asked for.
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: 1_000 })
  for (const figure of ['min', 'max', 'mean', 'stddev', 'p50', 'p90', 'p99']) {
    registry.removeSingleMetric(`nodejs_eventloop_lag_${figure}_seconds`)
  }
  return registry
}

export interface MetricsOptions {
  registry: Registry
  /** Host and port of a listener of its own; without it, `GET /metrics` is on the server itself. */
  listen?: { host: string; port: number } | undefined
}

/** Where a service's configuration wants its metrics, if not on the server itself. */
export const metricsListen = (config: {
  HOST: string
  METRICS_PORT?: number | undefined
}): MetricsOptions['listen'] =>
  config.METRICS_PORT === undefined ? undefined : { host: config.HOST, port: config.METRICS_PORT }

/** `GET /metrics` in Prometheus' text form, and a histogram of what each route takes, in seconds. */
export async function metrics(app: HttpServer, { registry, listen }: MetricsOptions): Promise<void> {
  const durations = new Histogram({
    name: 'http_request_duration_seconds',
    help: 'Time from request to answer, by method, route and status',
    labelNames: ['method', 'route', 'status'],
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    registers: [registry],
  })
  // To look up a set of labels costs more than the observation itself.
  const known = new Map<string, ReturnType<typeof durations.labels>>()
  app.addHook('onResponse', (request, reply, done) => {
    const route = request.routeOptions.url ?? 'unmatched'
    const key = `${request.method} ${route} ${reply.statusCode}`
    let child = known.get(key)
    if (!child) {
      child = durations.labels(request.method, route, String(reply.statusCode))
      known.set(key, child)
    }
    child.observe(reply.elapsedTime / 1_000)
    done()
  })
  if (!listen) {
    app.get('/metrics', { config: { permission: 'open' } }, async (_request, reply) => {
      reply.type(registry.contentType)
      return reply.send(await registry.metrics())
    })
    return
  }
  const server = createServer((request, response) => {
    if (request.url !== '/metrics') {
      response.writeHead(404).end()
      return
    }
    registry.metrics().then(
      (text) => response.writeHead(200, { 'content-type': registry.contentType }).end(text),
      (error: unknown) => {
        app.log.error({ err: error }, 'metrics could not be gathered')
        response.writeHead(500).end()
      },
    )
  })
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  server.once('error', reject)
  server.listen(listen.port, listen.host, resolve)
  await promise
  app.addHook('onClose', async () => {
    server.closeAllConnections()
    await new Promise((done) => server.close(done))
  })
}
