import {
  type Caller,
  InternalAdded,
  InternalAddedResult,
  InternalAgentReady,
  InternalAgentReadyResult,
  InternalAuthorize,
  InternalAuthorizeResult,
  InternalFill,
  InternalFillResult,
  InternalHeads,
  InternalHeadsResult,
  InternalJoin,
  InternalJoinResult,
  InternalJoins,
  InternalReads,
  InternalReadsResult,
  InternalRelation,
  InternalRelationResult,
  InternalRevocationsResult,
} from '@parley/contract'
import type { HttpServer } from '@parley/service-kit'
import type { Revocations } from '../identity/revocations.ts'
import type { FollowReader } from './follow.ts'
import { answerJoins } from './joins.ts'

export interface InternalRoutes {
  follow: FollowReader
  /** An agent's auto conversation, found or made, and its other active ones. */
  agentReady(caller: Caller): Promise<InternalAgentReadyResult>
  revocations: Revocations
}

const config = { permission: 'service' }

/** Below `/internal`: what gateways ask for, under a service token. */
export async function internalRoutes(app: HttpServer, options: InternalRoutes): Promise<void> {
  const { follow, agentReady, revocations } = options

  app.post(
    '/join',
    { config, schema: { body: InternalJoin, response: { 200: InternalJoinResult } } },
    ({ body }) => follow.join(body),
  )

  app.post(
    '/joins',
    { config, schema: { body: InternalJoins } },
    async ({ body, log, id: requestId }, reply) =>
      reply.type('application/json').send(await answerJoins(follow, body.joins, { log, requestId })),
  )

  app.post(
    '/fill',
    { config, schema: { body: InternalFill, response: { 200: InternalFillResult } } },
    ({ body }) => follow.fill(body),
  )

  app.post(
    '/heads',
    { config, schema: { body: InternalHeads, response: { 200: InternalHeadsResult } } },
    async ({ body }) => ({ heads: await follow.heads(body.ids) }),
  )

  app.post(
    '/added',
    { config, schema: { body: InternalAdded, response: { 200: InternalAddedResult } } },
    ({ body }) => follow.added(body),
  )

  app.post(
    '/reads',
    { config, schema: { body: InternalReads, response: { 200: InternalReadsResult } } },
    async ({ body }) => ({ receipts: await follow.reads(body.ids, new Date(body.since)) }),
  )

  app.post(
    '/authorize',
    { config, schema: { body: InternalAuthorize, response: { 200: InternalAuthorizeResult } } },
    ({ body }) => follow.authorize(body),
  )

  app.post(
    '/relations',
    { config, schema: { body: InternalRelation, response: { 200: InternalRelationResult } } },
    async ({ body: { caller, ...other } }) => ({ shared: await follow.share(caller, other) }),
  )

  app.post(
    '/agents/ready',
    { config, schema: { body: InternalAgentReady, response: { 200: InternalAgentReadyResult } } },
    ({ body }) => agentReady(body.caller),
  )

  app.post(
    '/revocations',
    { config, schema: { response: { 200: InternalRevocationsResult } } },
    async () => ({ revocations: await revocations.all() }),
  )
}
