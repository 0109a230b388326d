import {
  authorize,
  bearerToken,
  isPermission,
  type Permission,
  permissions,
  type ServiceVerifier,
  type VerifiedToken,
  type Verifier,
} from '@parley/auth'
import { type Caller, problem } from '@parley/contract'
import type { HttpServer } from '@parley/service-kit'
import type { FastifyRequest } from 'fastify'
import { z } from 'zod'

declare module 'fastify' {
  interface FastifyRequest {
    /** What the token proved; null on open routes and those of services. */
    identity: VerifiedToken | null
    /** The caller. Throws `unauthenticated` if the route needs no token. */
    readonly caller: Caller
    /** Verifies the token again, for an answer that took long. Throws what it would be refused with now. */
    reauthenticate(): Promise<void>
  }
}

export interface AuthenticationOptions {
  verifier: Verifier
  serviceVerifier: ServiceVerifier
  /** Called for every verified request; must not wait for anything. */
  seen(identity: VerifiedToken): void
}

const AgentPath = z.object({ agentId: z.string() })

/** The rule's decision if it needs no conversation; the services decide the rest. */
function assertAllowedWithoutConversation(permission: Permission, request: FastifyRequest): void {
  const rule = permissions[permission]
  if (rule !== 'admin' && rule !== 'agent_or_admin') return
  const { data } = AgentPath.safeParse(request.params)
  const subject = data ? ({ type: 'agent', id: data.agentId } as const) : undefined
  if (authorize(permission, request.caller, null, subject) !== 'allow') throw problem('forbidden')
}

/**
 * Verifies the token of every route that is not open, before looking at anything else of the request. A route without a
 * permission from the table does not boot.
 */
export function authentication(app: HttpServer, options: AuthenticationOptions): void {
  const { verifier, serviceVerifier, seen } = options
  app.decorateRequest('identity', null)
  app.decorateRequest('caller', {
    getter(this: FastifyRequest): Caller {
      if (!this.identity) throw problem('unauthenticated')
      return this.identity.caller
    },
  })

  app.decorateRequest('reauthenticate', async function (this: FastifyRequest): Promise<void> {
    await verifier.verify(bearerToken(this.headers))
  })

  app.addHook('onRoute', ({ method, url, config }) => {
    if (url === '*' && method === 'OPTIONS') return // the preflight route of CORS
    if (!isPermission(config?.permission)) {
      throw new Error(`${String(method)} ${url} has no permission of the table`)
    }
  })

  app.addHook('onRequest', (request, _reply, done) => {
    const permission = request.routeOptions.config.permission
    if (request.is404 || !isPermission(permission) || permission === 'open') {
      done()
      return
    }
    const accept = (identity: VerifiedToken) => {
      request.identity = identity
      assertAllowedWithoutConversation(permission, request)
      seen(identity)
      done()
    }
    try {
      const token = bearerToken(request.headers)
      if (permission === 'service') {
        serviceVerifier.verify(token)
        done()
        return
      }
      const identity = verifier.verify(token)
      // A token seen before is answered without leaving this tick.
      if (identity instanceof Promise) identity.then(accept).catch(done)
      else accept(identity)
    } catch (error) {
      done(error instanceof Error ? error : problem('unauthenticated', { cause: error }))
    }
  })
}
