import {
  AddParticipant,
  AuditEntry,
  ChangesPage,
  ChangesQuery,
  Conversation,
  ConversationPath,
  CreateConversation,
  Id,
  ListConversationsQuery,
  MarkRead,
  OpaqueId,
  PageQuery,
  Participant,
  ParticipantType,
  pageOf,
  ReadResult,
  UpdateConversation,
} from '@parley/contract'
import type { HttpServer } from '@parley/service-kit'
import { z } from 'zod'
import type { History } from '../changes/history.ts'
import type { ParticipantService } from '../participants/service.ts'
import type { ConversationLists } from './lists.ts'
import type { ConversationService } from './service.ts'

const AgentPath = z.strictObject({ agentId: OpaqueId })
const ParticipantPath = z.strictObject({ id: Id, type: ParticipantType, participantId: OpaqueId })
const ConversationPage = pageOf(Conversation)

export interface ConversationRoutesOptions {
  conversations: ConversationService
  lists: ConversationLists
  participants: ParticipantService
  history: History
}

/** `/conversations`: all but summary and context. */
export async function conversationRoutes(app: HttpServer, options: ConversationRoutesOptions): Promise<void> {
  const { conversations, lists, participants, history } = options

  app.post(
    '',
    {
      config: { permission: 'conversation:create' },
      schema: { body: CreateConversation, response: { 201: Conversation, 200: Conversation } },
    },
    async (request, reply) => {
      const { conversation, created } = await conversations.create(request.caller, request.body)
      return reply.code(created ? 201 : 200).send(conversation)
    },
  )

  app.get(
    '',
    {
      config: { permission: 'conversation:list' },
      schema: { querystring: ListConversationsQuery, response: { 200: ConversationPage } },
    },
    (request) => lists.list(request.caller, request.query),
  )

  app.get(
    '/my-conversations',
    {
      config: { permission: 'conversation:list-mine' },
      schema: { querystring: PageQuery, response: { 200: ConversationPage } },
    },
    (request) => lists.mine(request.caller, request.query),
  )

  app.get(
    '/agent/:agentId',
    {
      config: { permission: 'conversation:list-agent' },
      schema: { params: AgentPath, querystring: PageQuery, response: { 200: ConversationPage } },
    },
    (request) => lists.ofAgent(request.caller, request.params.agentId, request.query),
  )

  app.post(
    '/agent/:agentId/auto',
    {
      config: { permission: 'conversation:auto' },
      schema: { params: AgentPath, response: { 200: Conversation, 201: Conversation } },
    },
    async (request, reply) => {
      const { conversation, created } = await conversations.auto(request.caller, request.params.agentId)
      return reply.code(created ? 201 : 200).send(conversation)
    },
  )

  app.get(
    '/:id',
    {
      config: { permission: 'conversation:read' },
      schema: { params: ConversationPath, response: { 200: Conversation } },
    },
    (request) => conversations.get(request.caller, request.params.id),
  )

  app.put(
    '/:id',
    {
      config: { permission: 'conversation:update' },
      schema: { params: ConversationPath, body: UpdateConversation, response: { 200: Conversation } },
    },
    (request) => conversations.update(request.caller, request.params.id, request.body),
  )

  app.delete(
    '/:id',
    {
      config: { permission: 'conversation:delete' },
      schema: { params: ConversationPath, response: { 204: z.null() } },
    },
    async (request, reply) => {
      await conversations.remove(request.caller, request.params.id)
      return reply.code(204).send(null)
    },
  )

  for (const [path, status] of [
    ['archive', 'archived'],
    ['close', 'closed'],
    ['reopen', 'active'],
  ] as const) {
    app.post(
      `/:id/${path}`,
      {
        config: { permission: 'conversation:status' },
        schema: { params: ConversationPath, response: { 200: Conversation } },
      },
      (request) => conversations.setStatus(request.caller, request.params.id, status),
    )
  }

  app.get(
    '/:id/participants',
    {
      config: { permission: 'participant:list' },
      schema: {
        params: ConversationPath,
        querystring: PageQuery,
        response: { 200: pageOf(Participant) },
      },
    },
    (request) => participants.list(request.caller, request.params.id, request.query),
  )

  app.post(
    '/:id/participants',
    {
      config: { permission: 'participant:add' },
      schema: {
        params: ConversationPath,
        body: AddParticipant,
        response: { 201: Participant, 200: Participant },
      },
    },
    async (request, reply) => {
      const { participant, created } = await participants.add(request.caller, request.params.id, request.body)
      return reply.code(created ? 201 : 200).send(participant)
    },
  )

  app.delete(
    '/:id/participants/:type/:participantId',
    {
      config: { permission: 'participant:remove' },
      schema: { params: ParticipantPath, response: { 204: z.null() } },
    },
    async (request, reply) => {
      const { id, type, participantId } = request.params
      await participants.remove(request.caller, id, { type, id: participantId })
      return reply.code(204).send(null)
    },
  )

  app.post(
    '/:id/read',
    {
      config: { permission: 'conversation:mark-read' },
      schema: { params: ConversationPath, body: MarkRead, response: { 200: ReadResult } },
    },
    (request) => conversations.markRead(request.caller, request.params.id, request.body.seq),
  )

  app.get(
    '/:id/changes',
    {
      config: { permission: 'conversation:changes' },
      schema: { params: ConversationPath, querystring: ChangesQuery, response: { 200: ChangesPage } },
    },
    (request) => history.changes(request.caller, request.params.id, request.query),
  )

  app.get(
    '/:id/audit',
    {
      config: { permission: 'conversation:audit' },
      schema: {
        params: ConversationPath,
        querystring: PageQuery,
        response: { 200: pageOf(AuditEntry) },
      },
    },
    (request) => history.audit(request.caller, request.params.id, request.query),
  )
}
