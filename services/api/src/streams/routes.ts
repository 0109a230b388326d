import {
  InternalStreamCheckpoint,
  InternalStreamCheckpointResult,
  InternalStreamFinish,
  InternalStreamFinishResult,
  InternalStreamStart,
  InternalStreamStartResult,
} from '@parley/contract'
import type { HttpServer } from '@parley/service-kit'
import type { StreamService } from './service.ts'

const config = { permission: 'service' }

/** Below `/internal/streams`: what gateways store of the answers that agents stream. */
export async function internalStreamRoutes(
  app: HttpServer,
  { streams }: { streams: StreamService },
): Promise<void> {
  app.post(
    '/start',
    {
      config: { ...config, sends: true },
      schema: {
        body: InternalStreamStart,
        response: { 200: InternalStreamStartResult, 201: InternalStreamStartResult },
      },
    },
    async ({ body: { caller, start } }, reply) => {
      const started = await streams.start(caller, start)
      return reply.code(started.created ? 201 : 200).send(started)
    },
  )

  app.post(
    '/checkpoint',
    { config, schema: { body: InternalStreamCheckpoint, response: { 200: InternalStreamCheckpointResult } } },
    async ({ body }) => ({ live: await streams.checkpoint(body) }),
  )

  app.post(
    '/finish',
    { config, schema: { body: InternalStreamFinish, response: { 200: InternalStreamFinishResult } } },
    ({ body }) => streams.finish(body),
  )
}
