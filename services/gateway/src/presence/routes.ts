import { authorize } from '@parley/auth'
import { isAdmin, LIMITS, OpaqueId, PageQuery, ParticipantType, problem } from '@parley/contract'
import { type ApiClient, decodeCursor, encodeCursor, type HttpServer } from '@parley/service-kit'
import { z } from 'zod'
import type { CallerOf } from '../caller.ts'
import type { PresenceFeature } from './presence.ts'

const TypePath = z.strictObject({ type: ParticipantType })
const PersonPath = z.strictObject({ type: ParticipantType, id: OpaqueId })
const Position = z.tuple([OpaqueId])

/** `GET /presence/:type` and `GET /presence/:type/:id`. */
export function presenceRoutes(
  app: HttpServer,
  { presence, callerOf, api }: { presence: PresenceFeature; callerOf: CallerOf; api: ApiClient },
): void {
  /** Reads fail only because Redis is away. */
  async function known<T>(reading: Promise<T>): Promise<T> {
    try {
      return await reading
    } catch (cause) {
      throw problem('unavailable', { detail: 'Presence is temporarily unavailable', cause })
    }
  }

  app.get(
    '/presence/:type',
    { config: { permission: 'presence:list' }, schema: { params: TypePath, querystring: PageQuery } },
    async (request) => {
      const caller = await callerOf(request)
      if (authorize('presence:list', caller, null) !== 'allow') throw problem('forbidden')
      const { type } = request.params
      const { limit = LIMITS.defaultPageSize, cursor } = request.query
      const list = ['presence', caller.orgId, type]
      const [after] = cursor === undefined ? [null] : decodeCursor(cursor, list, Position)
      const { ids, hasMore } = await known(presence.list(caller.orgId, type, after, limit))
      const data = await known(
        Promise.all(ids.map((id) => presence.status({ orgId: caller.orgId, type, id }))),
      )
      const last = ids.at(-1)
      const nextCursor = hasMore && last !== undefined ? encodeCursor(list, [last]) : null
      return { data, page: { nextCursor, prevCursor: null, hasMore } }
    },
  )

  app.get(
    '/presence/:type/:id',
    {
      config: { permission: 'presence:read' },
      schema: { params: PersonPath, querystring: z.strictObject({}) },
    },
    async (request) => {
      const caller = await callerOf(request)
      const { type, id } = request.params
      const self = type === caller.type && id === caller.id
      if (!self && !isAdmin(caller)) {
        const { shared } = await api.internal('/internal/relations', {
          caller,
          type,
          id,
        })
        if (!shared) throw problem('not_found')
      }
      return known(presence.status({ orgId: caller.orgId, type, id }))
    },
  )
}
