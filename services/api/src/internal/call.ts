import { INTERNAL, type InternalPath } from '@parley/contract'

/** A call from the table as a route, without its handler. */
export const internalCall = <P extends InternalPath>(url: P) => ({
  method: 'POST' as const,
  url,
  config: { permission: 'service' },
  schema: { body: part(INTERNAL[url], 'body'), response: { 200: part(INTERNAL[url], 'result') } },
})

/** By a plain `.body` the type would be that of any row's. */
const part = <T, K extends keyof T>(row: T, key: K): T[K] => row[key]
