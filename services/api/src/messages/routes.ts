import {
  ConversationPath,
  CreateMessage,
  Id,
  ListMessagesQuery,
  Message,
  MessagePath,
  MessageRole,
  MessageStatistics,
  PageInfo,
  PageQuery,
  pageOf,
  QueryInt,
} from '@parley/contract'
import type { HttpServer } from '@parley/service-kit'
import { z } from 'zod'
import type { DeleteMessage } from './delete.ts'
import type { MessageService } from './service.ts'

/** `/messages`: send, delete, and read in every way but search. */
export async function messageRoutes(
  app: HttpServer,
  { messages, deleteMessage }: { messages: MessageService; deleteMessage: DeleteMessage },
): Promise<void> {
  app.post(
    '',
    {
      config: { permission: 'message:create' },
      schema: { body: CreateMessage, response: { 201: Message, 200: Message } },
    },
    async (request, reply) => {
      const header = request.headers['idempotency-key']
      const { message, json, created } = await messages.create(
        request.caller,
        request.body,
        Array.isArray(header) ? header.join(',') : header,
      )
      // The log already has it as text, for the stream.
      return reply
        .code(created ? 201 : 200)
        .type('application/json; charset=utf-8')
        .serializer(() => json)
        .send(message)
    },
  )

  app.get(
    '/conversation/:id',
    {
      config: { permission: 'message:list' },
      schema: {
        params: ConversationPath,
        querystring: ListMessagesQuery,
        response: { 200: pageOf(Message) },
      },
    },
    (request) => messages.list(request.caller, request.params.id, request.query),
  )

  app.get(
    '/conversation/:id/role/:role',
    {
      config: { permission: 'message:list' },
      schema: {
        params: ConversationPath.extend({ role: MessageRole }),
        querystring: PageQuery,
        response: { 200: pageOf(Message) },
      },
    },
    (request) => messages.listByRole(request.caller, request.params.id, request.params.role, request.query),
  )

  app.get(
    '/conversation/:id/attachments',
    {
      config: { permission: 'message:list' },
      schema: { params: ConversationPath, querystring: PageQuery, response: { 200: pageOf(Message) } },
    },
    (request) => messages.listWithAttachments(request.caller, request.params.id, request.query),
  )

  app.get(
    '/conversation/:id/last/:count',
    {
      config: { permission: 'message:list' },
      schema: {
        params: ConversationPath.extend({ count: QueryInt(1, 100) }),
        response: { 200: z.strictObject({ data: z.array(Message) }) },
      },
    },
    (request) => messages.last(request.caller, request.params.id, request.params.count),
  )

  app.get(
    '/conversation/:id/statistics',
    {
      config: { permission: 'message:statistics' },
      schema: { params: ConversationPath, response: { 200: MessageStatistics } },
    },
    (request) => messages.statistics(request.caller, request.params.id),
  )

  app.get(
    '/thread/:messageId',
    {
      config: { permission: 'message:read' },
      schema: {
        params: z.strictObject({ messageId: Id }),
        querystring: PageQuery,
        response: { 200: z.strictObject({ parent: Message, data: z.array(Message), page: PageInfo }) },
      },
    },
    (request) => messages.thread(request.caller, request.params.messageId, request.query),
  )

  app.get(
    '/:id',
    { config: { permission: 'message:read' }, schema: { params: MessagePath, response: { 200: Message } } },
    (request) => messages.get(request.caller, request.params.id),
  )

  app.delete(
    '/:id',
    {
      config: { permission: 'message:delete' },
      schema: { params: MessagePath, response: { 204: z.null() } },
    },
    async (request, reply) => {
      await deleteMessage(request.caller, request.params.id)
      return reply.code(204).send(null)
    },
  )
}
