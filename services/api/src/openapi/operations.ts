import type { ProblemCode } from '@parley/contract'
import type { OpenAPIV3_1 } from 'openapi-types'
import { EXAMPLES } from './examples.ts'

/** What the document says about a call beyond its schemas. */
export interface Operation {
  id: string
  tag: 'Conversations' | 'Participants' | 'Messages' | 'Identity' | 'System'
  summary: string
  request?: unknown
  /** Headers that mean something to this call. */
  headers?: OpenAPIV3_1.ParameterObject[]
  /** By status: what the answer means, and an example of its body. */
  answers: Record<number, { description: string; example?: unknown }>
  /** Refusals beyond those that every call of its kind has. */
  problems?: ProblemCode[]
}

const { answer, audit, change, conversation, conversationId, message, page, participant, statistics } =
  EXAMPLES
const found = (description: string, example: unknown) => ({ 200: { description, example } })
const conversationPage = found('Latest activity first', page(conversation))
const messagePage = found('Ascending by seq', page(message, answer))

/** Every public call, by method and path. A missing call fails the test of the document. */
export const OPERATIONS: Record<string, Operation> = {
  'GET /me': {
    id: 'getMe',
    tag: 'Identity',
    summary: 'Who the token says you are, and how much you have not read',
    answers: found('You', {
      type: 'user',
      id: 'ada',
      orgId: 'acme',
      roles: ['member'],
      name: 'Ada Lovelace',
      unread: { conversations: 1, messages: 3 },
    }),
  },
  'POST /auth/revoke': {
    id: 'revokeTokens',
    tag: 'Identity',
    summary: 'End all tokens issued so far to a person or agent of your org (admins)',
    request: { type: 'user', id: 'bob' },
    answers: {
      204: { description: 'Their tokens are no longer valid, and their sockets closed within a second' },
    },
    problems: ['forbidden'],
  },
  'POST /auth/dev-token': {
    id: 'createDevToken',
    tag: 'Identity',
    summary: 'Make a token for development; available only with AUTH_DEV_TOKENS=true',
    request: { sub: 'ada', type: 'user', orgId: 'acme', roles: ['member'], name: 'Ada', expiresIn: 3600 },
    answers: {
      201: {
        description: 'A token for `Authorization: Bearer`',
        example: { token: 'eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmF0dXJl', expiresAt: '2026-03-14T10:26:53.000Z' },
      },
    },
    problems: ['validation_failed'],
  },

  'POST /conversations': {
    id: 'createConversation',
    tag: 'Conversations',
    summary: 'Start a conversation; you become its owner',
    request: {
      title: 'Parcel 4711',
      agentId: 'helper',
      tags: ['support'],
      externalId: 'ticket-4711',
      participants: [{ type: 'user', id: 'bob', role: 'member' }],
    },
    answers: {
      201: { description: 'Made', example: conversation },
      200: { description: 'The one with this externalId, in which you take part', example: conversation },
    },
    problems: ['conflict'],
  },
  'GET /conversations': {
    id: 'listConversations',
    tag: 'Conversations',
    summary: 'Conversations you take part in; admins see all of the org',
    answers: conversationPage,
  },
  'GET /conversations/my-conversations': {
    id: 'listMyConversations',
    tag: 'Conversations',
    summary: 'Conversations you take part in',
    answers: conversationPage,
  },
  'GET /conversations/agent/{agentId}': {
    id: 'listAgentConversations',
    tag: 'Conversations',
    summary: 'An agent’s conversations in which you take part, also if you are the agent; all for admins',
    answers: conversationPage,
  },
  'POST /conversations/agent/{agentId}/auto': {
    id: 'autoConversation',
    tag: 'Conversations',
    summary: 'The agent’s one active auto conversation, found or made (the agent itself, admins)',
    answers: {
      200: { description: 'Found', example: conversation },
      201: { description: 'Made', example: conversation },
    },
    problems: ['forbidden'],
  },
  'GET /conversations/{id}': {
    id: 'getConversation',
    tag: 'Conversations',
    summary: 'A conversation',
    answers: found('With your own part in it', conversation),
  },
  'PUT /conversations/{id}': {
    id: 'updateConversation',
    tag: 'Conversations',
    summary: 'Replace the given fields; null clears one (owners)',
    request: { title: 'Parcel 4711, found', metadata: null },
    answers: found('As it is now', conversation),
    problems: ['forbidden'],
  },
  'DELETE /conversations/{id}': {
    id: 'deleteConversation',
    tag: 'Conversations',
    summary: 'Delete a conversation (owners)',
    answers: { 204: { description: 'Gone for everybody' } },
    problems: ['forbidden'],
  },
  ...Object.fromEntries(
    (['archive', 'close', 'reopen'] as const).map((action) => [
      `POST /conversations/{id}/${action}`,
      {
        id: `${action}Conversation`,
        tag: 'Conversations' as const,
        summary: `${action[0]?.toUpperCase()}${action.slice(1)} a conversation (owners)`,
        answers: found('As it is now', conversation),
        problems: ['forbidden'] satisfies ProblemCode[],
      },
    ]),
  ),
  'POST /conversations/{id}/summary': {
    id: 'summarizeConversation',
    tag: 'Conversations',
    summary: 'Request a summary of everything so far (owners, members)',
    answers: {
      200: {
        description: 'With `wait=true`: the summary',
        example: { contextSummary: conversation.contextSummary, summaryCoversSeq: 2 },
      },
      202: { description: 'Under way', example: { status: 'queued' } },
    },
    problems: ['forbidden'],
  },
  'GET /conversations/{id}/context': {
    id: 'getContext',
    tag: 'Conversations',
    summary:
      'What goes into an agent’s prompt: the summary and the latest messages, within a budget of tokens',
    answers: found('At most `maxTokens` tokens', {
      summary: conversation.contextSummary,
      coversSeq: 1,
      messages: [answer],
      tokens: 44,
    }),
  },
  'POST /conversations/{id}/read': {
    id: 'markRead',
    tag: 'Conversations',
    summary: 'Mark how far you have read; never goes back',
    request: { seq: 2 },
    answers: found('Where you are', { readSeq: 2, unread: 0 }),
    problems: ['forbidden'],
  },
  'GET /conversations/{id}/changes': {
    id: 'listChanges',
    tag: 'Conversations',
    summary: 'The latest state of each thing that changed after a number',
    answers: found('Ascending by changeSeq; fewer than `limit` if messages are long', {
      data: [change],
      page: { hasMore: false, lastChangeSeq: 1 },
    }),
  },
  'GET /conversations/{id}/audit': {
    id: 'listAudit',
    tag: 'Conversations',
    summary: 'Who did what, when; no message text (owners)',
    answers: found('Latest first', page(audit)),
    problems: ['forbidden'],
  },

  'GET /conversations/{id}/participants': {
    id: 'listParticipants',
    tag: 'Participants',
    summary: 'Who takes part',
    answers: found('In the order of joining', page(participant)),
  },
  'POST /conversations/{id}/participants': {
    id: 'addParticipant',
    tag: 'Participants',
    summary: 'Add somebody, or change their role (owners)',
    request: { type: 'user', id: 'bob', role: 'member' },
    answers: {
      201: { description: 'Added', example: participant },
      200: { description: 'Took part already; with the new role, if one was given', example: participant },
    },
    problems: ['forbidden', 'last_owner', 'conflict'],
  },
  'DELETE /conversations/{id}/participants/{type}/{participantId}': {
    id: 'removeParticipant',
    tag: 'Participants',
    summary: 'Remove somebody (owners), or leave',
    answers: { 204: { description: 'Removed' } },
    problems: ['forbidden', 'last_owner'],
  },

  'POST /messages': {
    id: 'createMessage',
    tag: 'Messages',
    summary: 'Send a message; acknowledged once it is on a majority (owners, members)',
    headers: [
      {
        name: 'Idempotency-Key',
        in: 'header',
        description: 'Like clientMessageId: repeating a key returns the message stored under it',
        schema: { type: 'string', minLength: 1, maxLength: 128 },
      },
    ],
    request: {
      conversationId,
      role: 'user',
      content: 'Where is my parcel?',
      attachments: ['https://files.example.com/receipt.pdf', 'document:invoice-17'],
      clientMessageId: 'c0ffee-1',
    },
    answers: {
      201: { description: 'Stored', example: message },
      200: { description: 'Stored before under this clientMessageId', example: message },
    },
    problems: [
      'forbidden',
      'role_not_allowed',
      'conversation_not_active',
      'agent_loop',
      'idempotency_mismatch',
      'invalid_attachment',
    ],
  },
  'GET /messages/conversation/{id}': {
    id: 'listMessages',
    tag: 'Messages',
    summary:
      'Messages of a conversation; without a position, the newest page. A page has 8 MiB at most, or one message',
    answers: messagePage,
  },
  'GET /messages/conversation/{id}/role/{role}': {
    id: 'listMessagesByRole',
    tag: 'Messages',
    summary: 'Messages of one role',
    answers: found('Ascending by seq', page(answer)),
  },
  'GET /messages/conversation/{id}/attachments': {
    id: 'listMessagesWithAttachments',
    tag: 'Messages',
    summary: 'Messages with attachments',
    answers: found('Ascending by seq', page(message)),
  },
  'GET /messages/conversation/{id}/search': {
    id: 'searchMessages',
    tag: 'Messages',
    summary: 'Messages that contain the words of `q`, best match first',
    answers: found('With the positions of the matches', {
      data: [{ ...message, score: 1.5, highlights: [{ start: 12, end: 18 }] }],
      page: { nextCursor: null, prevCursor: null, hasMore: false },
    }),
  },
  'GET /messages/conversation/{id}/last/{count}': {
    id: 'lastMessages',
    tag: 'Messages',
    summary: 'The last messages: at most 100, fewer if they exceed 8 MiB together',
    answers: found('Ascending by seq', { data: [message, answer] }),
  },
  'GET /messages/conversation/{id}/statistics': {
    id: 'messageStatistics',
    tag: 'Messages',
    summary: 'Counts, tokens and cost; deleted messages count only towards tokens and cost',
    answers: found('As of now', statistics),
  },
  'GET /messages/thread/{messageId}': {
    id: 'getThread',
    tag: 'Messages',
    summary: 'A message and the answers to it',
    answers: found('Answers ascend by seq', { parent: message, ...page(answer) }),
  },
  'GET /messages/{id}': {
    id: 'getMessage',
    tag: 'Messages',
    summary: 'A message',
    answers: found('The message; a deleted one as its tombstone', EXAMPLES.tombstone),
  },
  'DELETE /messages/{id}': {
    id: 'deleteMessage',
    tag: 'Messages',
    summary: 'Delete a message’s content (its author, owners)',
    answers: { 204: { description: 'Done, or there was nothing to do' } },
    problems: ['forbidden'],
  },

  'GET /health/live': {
    id: 'live',
    tag: 'System',
    summary: 'Is the process alive?',
    answers: found('Yes', { status: 'live' }),
  },
  'GET /health/ready': {
    id: 'ready',
    tag: 'System',
    summary: 'Is the process ready for requests?',
    answers: found('Yes; `degraded` names what is unavailable', { status: 'ready', degraded: ['redis'] }),
    problems: ['unavailable'],
  },
  'GET /metrics': {
    id: 'metrics',
    tag: 'System',
    summary: 'Figures in Prometheus’ text form',
    answers: { 200: { description: 'text/plain' } },
  },
  'GET /openapi.json': {
    id: 'openapi',
    tag: 'System',
    summary: 'This document',
    answers: { 200: { description: 'OpenAPI 3.1' } },
  },
}
