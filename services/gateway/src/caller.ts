import { bearerToken, type Verifier } from '@parley/auth'
import type { Caller } from '@parley/contract'
import type { FastifyRequest } from 'fastify'

export type CallerOf = (request: FastifyRequest) => Promise<Caller>

/**
 * The caller of an HTTP request, by its token, verified once per request. Throws `unauthenticated`, `token_expired`.
 */
export function createCallerOf(verifier: Verifier): CallerOf {
  const callers = new WeakMap<FastifyRequest, Promise<Caller>>()

  async function judge({ headers }: FastifyRequest): Promise<Caller> {
    return (await verifier.verify(bearerToken(headers))).caller
  }

  return (request) => {
    const caller = callers.get(request) ?? judge(request)
    callers.set(request, caller)
    return caller
  }
}
