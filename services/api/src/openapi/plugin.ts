import fastifySwagger from '@fastify/swagger'
import type { HttpServer } from '@parley/service-kit'
import reference from '@scalar/fastify-api-reference'
import { jsonSchemaTransform, jsonSchemaTransformObject } from 'fastify-type-provider-zod'
import { NO_BODY, NO_QUERY } from '../plugins/strict-routes.ts'
import { describe } from './describe.ts'
import { PROBLEMS_PAGE } from './problems-page.ts'

/** `GET /openapi.json`, made from the routes and their schemas, and `GET /docs`, its reference, which works offline. */
export async function openapi(app: HttpServer): Promise<void> {
  await app.register(fastifySwagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Parley',
        version: '1.0.0',
        description:
          'Conversations between people and AI agents. Errors are problem details (RFC 9457); what each code means is listed under its answers. Lengths of text are in UTF-16 code units: a character beyond U+FFFF, like most emoji, counts as two. Sockets are described in the AsyncAPI document.',
      },
      components: {
        securitySchemes: { token: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' } },
      },
    },
    transform: (document) => {
      const { permission } = document.route.config ?? {}
      const { querystring, body, ...schema } = { ...document.schema }
      const hide = permission === undefined || permission === 'service' || document.route.method === 'HEAD'
      return jsonSchemaTransform({
        ...document,
        schema: {
          ...schema,
          ...(querystring === undefined || querystring === NO_QUERY ? {} : { querystring }),
          ...(body === undefined || body === NO_BODY ? {} : { body }),
          ...(hide ? { hide } : {}),
        },
      })
    },
    transformObject: jsonSchemaTransformObject,
  })

  let text: string | undefined
  app.get('/openapi.json', { config: { permission: 'open' } }, async (_request, reply) => {
    text ??= JSON.stringify(describe(app.swagger()))
    return reply.type('application/json').send(text)
  })

  await app.register(async (docs) => {
    docs.addHook('onRoute', (route) => {
      route.config = { ...route.config, permission: 'open' }
      route.schema = { ...route.schema, hide: true }
    })
    docs.get('/docs/problems', (_request, reply) =>
      reply.type('text/html; charset=utf-8').send(PROBLEMS_PAGE),
    )
    await docs.register(reference, {
      routePrefix: '/docs',
      configuration: {
        url: '/openapi.json',
        withDefaultFonts: false,
        hideClientButton: true,
        // These features lead to external services.
        showDeveloperTools: 'never',
        agent: { disabled: true },
      },
    })
  })
}
