import { INTERNAL } from '@parley/contract'
import type { HttpServer } from '@parley/service-kit'
import { internalCall } from '../internal/call.ts'
import type { StreamService } from './service.ts'

/** What gateways store of the answers that agents stream. */
export async function internalStreamRoutes(
  app: HttpServer,
  { streams }: { streams: StreamService },
): Promise<void> {
  const { body, result } = INTERNAL['/internal/streams/start']
  const start = internalCall('/internal/streams/start')
  app.route({
    ...start,
    config: { ...start.config, sends: true },
    schema: { body, response: { 200: result, 201: result } },
    handler: async ({ body: { caller, start } }, reply) => {
      const started = await streams.start(caller, start)
      return reply.code(started.created ? 201 : 200).send(started)
    },
  })

  app.route({
    ...internalCall('/internal/streams/checkpoint'),
    handler: async ({ body }) => ({ live: await streams.checkpoint(body) }),
  })

  app.route({
    ...internalCall('/internal/streams/finish'),
    handler: ({ body }) => streams.finish(body),
  })
}
