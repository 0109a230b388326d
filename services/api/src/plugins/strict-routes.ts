import type { HttpServer } from '@parley/service-kit'
import { z } from 'zod'

/** Query and body of routes that take none: fields sent anyway are refused by name. */
export const NO_QUERY = z.strictObject({})
export const NO_BODY = z.strictObject({}).nullish()

const WITH_BODY = new Set(['POST', 'PUT', 'PATCH', 'DELETE'])

/** Unknown fields are refused on every route that needs a token, even if it has no schema of its own. */
export function strictRoutes(app: HttpServer): void {
  app.addHook('onRoute', (route) => {
    if (route.config?.permission === 'open' || route.url === '*') return
    const schema = { ...route.schema }
    schema.querystring ??= NO_QUERY
    const methods = Array.isArray(route.method) ? route.method : [route.method]
    if (methods.some((method) => WITH_BODY.has(method))) schema.body ??= NO_BODY
    route.schema = schema
  })
}
