import { Id, Message, pageOf, SearchQuery } from '@parley/contract'
import type { HttpServer } from '@parley/service-kit'
import { z } from 'zod'
import type { Search } from './service.ts'

const SearchHit = Message.extend({
  score: z.number(),
  highlights: z.array(z.strictObject({ start: z.int(), end: z.int() })).meta({
    description: 'Where the words of the query stand in `content`, as UTF-16 offsets',
  }),
}).meta({ id: 'SearchHit' })

/** `/messages/conversation/:id/search` */
export async function searchRoutes(app: HttpServer, { search }: { search: Search }): Promise<void> {
  app.get(
    '/conversation/:id/search',
    {
      config: { permission: 'message:search' },
      schema: {
        params: z.strictObject({ id: Id }),
        querystring: SearchQuery,
        response: { 200: pageOf(SearchHit) },
      },
    },
    (request) => search.find(request.caller, request.params.id, request.query),
  )
}
