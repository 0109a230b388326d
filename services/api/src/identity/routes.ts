import { Me, RevokeRequest } from '@parley/contract'
import type { HttpServer } from '@parley/service-kit'
import { z } from 'zod'
import { type DevTokenConfig, devTokenRoutes } from './dev-tokens.ts'
import type { Revocations } from './revocations.ts'
import type { UnreadTotals } from './unread.ts'

export interface IdentityRoutes {
  unreadTotals: UnreadTotals
  revocations: Revocations
  /** Absent if `AUTH_DEV_TOKENS` is off: the route then does not exist. */
  devTokens: DevTokenConfig | undefined
}

export async function identityRoutes(app: HttpServer, options: IdentityRoutes): Promise<void> {
  const { unreadTotals, revocations, devTokens } = options

  app.get(
    '/me',
    { config: { permission: 'identity:me' }, schema: { response: { 200: Me } } },
    async ({ caller }) => {
      const { type, id, orgId, roles, name } = caller
      return { type, id, orgId, roles, name, unread: await unreadTotals(caller) }
    },
  )

  app.post(
    '/auth/revoke',
    {
      config: { permission: 'identity:revoke' },
      schema: { body: RevokeRequest, response: { 204: z.null() } },
    },
    async ({ caller, body }, reply) => {
      await revocations.revoke(caller, body)
      return reply.code(204).send(null)
    },
  )

  if (devTokens) await app.register(devTokenRoutes, { config: devTokens })
}
