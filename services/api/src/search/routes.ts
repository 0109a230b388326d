import { ConversationPath, pageOf, SearchHit, SearchQuery } from '@parley/contract'
import type { HttpServer } from '@parley/service-kit'
import type { Search } from './service.ts'

/** `/messages/conversation/:id/search` */
export async function searchRoutes(app: HttpServer, { search }: { search: Search }): Promise<void> {
  app.get(
    '/conversation/:id/search',
    {
      config: { permission: 'message:search' },
      schema: {
        params: ConversationPath,
        querystring: SearchQuery,
        response: { 200: pageOf(SearchHit) },
      },
    },
    (request) => search.find(request.caller, request.params.id, request.query),
  )
}
