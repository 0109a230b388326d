import { type Caller, INTERNAL, type InternalAgentReadyResult } from '@parley/contract'
import type { HttpServer } from '@parley/service-kit'
import type { Revocations } from '../identity/revocations.ts'
import { internalCall } from './call.ts'
import type { FollowReader } from './follow.ts'
import { answerJoins } from './joins.ts'

export interface InternalRoutes {
  follow: FollowReader
  /** An agent's auto conversation, found or made, and its other active ones. */
  agentReady(caller: Caller): Promise<InternalAgentReadyResult>
  revocations: Revocations
}

/** What gateways ask for, under a service token. */
export async function internalRoutes(app: HttpServer, options: InternalRoutes): Promise<void> {
  const { follow, agentReady, revocations } = options

  app.route({
    ...internalCall('/internal/join'),
    handler: ({ body }) => follow.join(body),
  })

  app.route({
    ...internalCall('/internal/joins'),
    // What it answers is text already.
    schema: { body: INTERNAL['/internal/joins'].body },
    handler: async ({ body, log, id: requestId }, reply) =>
      reply.type('application/json').send(await answerJoins(follow, body.joins, { log, requestId })),
  })

  app.route({
    ...internalCall('/internal/fill'),
    handler: ({ body }) => follow.fill(body),
  })

  app.route({
    ...internalCall('/internal/heads'),
    handler: async ({ body }) => ({ heads: await follow.heads(body.ids) }),
  })

  app.route({
    ...internalCall('/internal/added'),
    handler: ({ body }) => follow.added(body),
  })

  app.route({
    ...internalCall('/internal/reads'),
    handler: async ({ body }) => ({ receipts: await follow.reads(body.ids, new Date(body.since)) }),
  })

  app.route({
    ...internalCall('/internal/authorize'),
    handler: ({ body }) => follow.authorize(body),
  })

  app.route({
    ...internalCall('/internal/relations'),
    handler: async ({ body: { caller, ...other } }) => ({ shared: await follow.share(caller, other) }),
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
