import fastifyJwt from '@fastify/jwt'
import type { JwtConfig } from '@parley/auth'
import { DevTokenRequest, DevTokenResponse } from '@parley/contract'
import type { HttpServer } from '@parley/service-kit'

export type DevTokenConfig = JwtConfig & { JWT_SECRET: string }

const DEFAULT_SECONDS = 3_600

/** `POST /auth/dev-token`: tokens that this deployment accepts, with its own issuer, audience and claim names. */
export async function devTokenRoutes(app: HttpServer, { config }: { config: DevTokenConfig }): Promise<void> {
  await app.register(fastifyJwt, { secret: config.JWT_SECRET, sign: { algorithm: 'HS256' } })
  const constant = {
    ...(config.JWT_ISSUER === undefined ? {} : { iss: config.JWT_ISSUER }),
    ...(config.JWT_AUDIENCE[0] === undefined ? {} : { aud: config.JWT_AUDIENCE[0] }),
    ...(config.JWT_AUTHORIZED_PARTIES[0] === undefined ? {} : { azp: config.JWT_AUTHORIZED_PARTIES[0] }),
  }

  app.post(
    '/auth/dev-token',
    {
      config: { permission: 'open' },
      schema: { body: DevTokenRequest, response: { 201: DevTokenResponse } },
    },
    async ({ body }, reply) => {
      const { sub, type, orgId, roles = [], name, expiresIn = DEFAULT_SECONDS } = body
      const iat = Math.floor(Date.now() / 1_000)
      const token = app.jwt.sign({
        ...constant,
        sub,
        iat,
        exp: iat + expiresIn,
        [config.JWT_CLAIM_TYPE ?? 'type']: type,
        [config.JWT_CLAIM_ORG ?? 'orgId']: orgId,
        [config.JWT_CLAIM_ROLES ?? 'roles']: roles.map((role) =>
          role === 'admin' ? config.JWT_ROLE_ADMIN : role,
        ),
        ...(name === undefined ? {} : { name }),
      })
      const expiresAt = new Date((iat + expiresIn) * 1_000).toISOString()
      return reply.code(201).send({ token, expiresAt })
    },
  )
}
