import type { Verifier } from '@parley/auth'
import { type Caller, problem } from '@parley/contract'
import type { FastifyRequest } from 'fastify'

const BEARER = /^Bearer +([\w.~+/=-]+)$/i

export type CallerOf = (request: FastifyRequest) => Promise<Caller>

/** Who asks over HTTP, by the token shown; judged once for a request. Throws `unauthenticated`, `token_expired`. */
export function createCallerOf(verifier: Verifier): CallerOf {
  const callers = new WeakMap<FastifyRequest, Promise<Caller>>()

  async function judge({ headers: { authorization } }: FastifyRequest): Promise<Caller> {
    const token = authorization === undefined ? undefined : BEARER.exec(authorization)?.[1]
    if (token === undefined) throw problem('unauthenticated')
    return (await verifier.verify(token)).caller
  }

  return (request) => {
    const caller = callers.get(request) ?? judge(request)
    callers.set(request, caller)
    return caller
  }
}
