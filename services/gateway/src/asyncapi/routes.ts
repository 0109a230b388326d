import type { HttpServer } from '@parley/service-kit'
import { asyncApiDocument } from './document.ts'

/** `GET /asyncapi.json`, open to all. */
export function asyncApiRoutes(app: HttpServer): void {
  const body = JSON.stringify(asyncApiDocument())
  app.get('/asyncapi.json', { config: { permission: 'open' } }, async (_request, reply) => {
    reply.type('application/json')
    return reply.send(body)
  })
}
