import { type Caller, INTERNAL, type InternalAgentReadyResult } from '@parley/contract'
import type { HttpServer } from '@parley/service-kit'
import type { Revocations } from '../identity/revocations.ts'
import { internalCall } from './call.ts'
import type { GatewayReads } from './gateway-reads.ts'
import { answerJoins } from './joins.ts'

export interface InternalRoutes {
  gatewayReads: GatewayReads
  /** An agent's auto conversation, found or made, and its other active ones. */
  agentReady(caller: Caller): Promise<InternalAgentReadyResult>
  revocations: Revocations
}

/** Routes for gateways, under a service token. */
export async function internalRoutes(app: HttpServer, options: InternalRoutes): Promise<void> {
  const { gatewayReads, agentReady, revocations } = options

  app.route({
    ...internalCall('/internal/join'),
    handler: ({ body }) => gatewayReads.join(body),
  })

  app.route({
    ...internalCall('/internal/joins'),
    // Its answer is already text.
    schema: { body: INTERNAL['/internal/joins'].body },
    handler: async ({ body, log, id: requestId }, reply) =>
      reply.type('application/json').send(await answerJoins(gatewayReads, body.joins, { log, requestId })),
  })

  app.route({
    ...internalCall('/internal/fill'),
    handler: ({ body }) => gatewayReads.fill(body),
  })

  app.route({
    ...internalCall('/internal/heads'),
    handler: async ({ body }) => ({ heads: await gatewayReads.heads(body.ids) }),
  })

  app.route({
    ...internalCall('/internal/added'),
    handler: ({ body }) => gatewayReads.added(body),
  })

  app.route({
    ...internalCall('/internal/reads'),
    handler: async ({ body }) => ({ receipts: await gatewayReads.reads(body.ids, new Date(body.since)) }),
  })

  app.route({
    ...internalCall('/internal/authorize'),
    handler: ({ body }) => gatewayReads.whoMayJoin(body),
  })

  app.route({
    ...internalCall('/internal/relations'),
    handler: async ({ body: { caller, ...other } }) => ({
      shared: await gatewayReads.shareConversation(caller, other),
    }),
  })

  app.route({
    ...internalCall('/internal/agents/ready'),
    handler: ({ body }) => agentReady(body.caller),
  })

  app.route({
    ...internalCall('/internal/revocations'),
    handler: async () => ({ revocations: await revocations.all() }),
  })
}
