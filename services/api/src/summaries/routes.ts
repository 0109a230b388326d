import {
  ContextQuery,
  ConversationContext,
  ConversationPath,
  ConversationSummary,
  problem,
  SummaryQuery,
  SummaryQueued,
} from '@parley/contract'
import type { HttpServer } from '@parley/service-kit'
import { internalCall } from '../internal/call.ts'
import type { Context } from './context.ts'
import type { SummaryQueue } from './queue.ts'
import type { SummaryService } from './service.ts'
import type { SummaryWorkReader } from './work.ts'
import type { SummaryWriter } from './writer.ts'

/** Below `/conversations`: a summary on demand, and the context for a prompt. */
export async function summaryRoutes(
  app: HttpServer,
  { summaries, context }: { summaries: SummaryService; context: Context },
): Promise<void> {
  // Who still waits when this process ends would get no answer at all.
  const ending = new AbortController()
  app.addHook('preClose', (done) => {
    ending.abort()
    done()
  })

  app.post(
    '/:id/summary',
    {
      config: { permission: 'conversation:summarize' },
      schema: {
        params: ConversationPath,
        querystring: SummaryQuery,
        response: { 200: ConversationSummary, 202: SummaryQueued },
      },
    },
    async (request, reply) => {
      const wanted = await summaries.request(request.caller, request.params.id)
      if (request.query.wait === 'true') {
        const gone = new AbortController()
        reply.raw.once('close', () => gone.abort())
        const summary = await summaries.wait(wanted, AbortSignal.any([gone.signal, ending.signal]))
        if (summary) {
          await request.reauthenticate()
          return summary
        }
      }
      return reply.code(202).send({ status: 'queued' as const })
    },
  )

  app.get(
    '/:id/context',
    {
      config: { permission: 'conversation:context' },
      schema: { params: ConversationPath, querystring: ContextQuery, response: { 200: ConversationContext } },
    },
    (request) => context.get(request.caller, request.params.id, request.query),
  )
}

/** Routes for the worker, and for failed jobs. */
export async function internalSummaryRoutes(
  app: HttpServer,
  { reader, write, queue }: { reader: SummaryWorkReader; write: SummaryWriter; queue: SummaryQueue },
): Promise<void> {
  app.route({
    ...internalCall('/internal/summaries/read'),
    handler: (request) => reader.read(request.body.conversationId),
  })

  app.route({
    ...internalCall('/internal/summaries/write'),
    handler: async (request) => ({ applied: await write(request.body) }),
  })

  app.route({
    ...internalCall('/internal/summaries/failed'),
    handler: async (request) => {
      if (!queue.isReady())
        throw problem('unavailable', { detail: 'The job queue is unavailable', retryAfter: 1 })
      return { jobs: await queue.failed(request.body.limit) }
    },
  })
}
