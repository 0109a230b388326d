import { problem } from '@parley/contract'

const BEARER = /^Bearer +([\w.~+/=-]+)$/i

/**
 * The token in an `Authorization` header.
 * @throws ProblemError unauthenticated
 */
export function bearerToken({ authorization }: { authorization?: string | undefined }): string {
  const token = authorization === undefined ? undefined : BEARER.exec(authorization)?.[1]
  if (token === undefined) throw problem('unauthenticated')
  return token
}
