/** Resources shown in the examples of the OpenAPI document; a test validates them against the schemas. */

const at = '2026-03-14T09:26:53.589Z'
const ada = { type: 'user', id: 'ada' }
const bot = { type: 'agent', id: 'helper' }
const conversationId = '665f1c2ab1d4e8a3c9d0f1a2'
const messageId = '665f1c2ab1d4e8a3c9d0f1b7'

const participant = {
  ...ada,
  role: 'owner',
  name: 'Ada Lovelace',
  avatarUrl: 'https://cdn.example.com/ada.png',
  joinedAt: at,
  readSeq: 2,
}

const message = {
  id: messageId,
  conversationId,
  seq: 1,
  changeSeq: 0,
  type: 'text',
  role: 'user',
  status: 'sent',
  participantType: 'user',
  participantId: 'ada',
  parentId: null,
  content: 'Where is my parcel?',
  attachments: ['https://files.example.com/receipt.pdf'],
  thinking: null,
  toolCalls: [],
  toolCallId: null,
  usage: null,
  model: null,
  cost: 0,
  metadata: { channel: 'web' },
  clientMessageId: 'c0ffee-1',
  createdAt: at,
  createdBy: ada,
  updatedAt: at,
  updatedBy: ada,
  deletedAt: null,
}

const answer = {
  ...message,
  id: '665f1c2ab1d4e8a3c9d0f1b8',
  seq: 2,
  role: 'assistant',
  participantType: 'agent',
  participantId: 'helper',
  parentId: messageId,
  content: 'It will be with you on Monday.',
  attachments: [],
  toolCalls: [{ id: 'call_1', name: 'track_parcel', arguments: { ticket: 4711 }, result: { eta: 'Monday' } }],
  usage: { inputTokens: 210, outputTokens: 12, totalTokens: 222 },
  model: 'small',
  cost: 0.000444,
  metadata: {},
  clientMessageId: null,
  createdBy: bot,
  updatedBy: bot,
}

const { id, seq, role, participantType, participantId, createdAt } = answer
const roomConversation = {
  id: conversationId,
  orgId: 'acme',
  externalId: 'ticket-4711',
  title: 'Parcel 4711',
  description: null,
  agentId: 'helper',
  tags: ['support'],
  metadata: { priority: 2 },
  status: 'active',
  participantCount: 2,
  participants: [
    participant,
    { ...bot, role: 'member', name: null, avatarUrl: null, joinedAt: at, readSeq: 2 },
  ],
  messageCount: 2,
  lastSeq: 2,
  changeSeq: 1,
  lastMessage: { id, seq, role, participantType, participantId, preview: answer.content, createdAt },
  usage: answer.usage,
  totalCost: 0.000444,
  contextSummary: 'Ada asked for parcel 4711; it arrives on Monday.',
  summaryCoversSeq: 2,
  createdAt: at,
  createdBy: ada,
  updatedAt: at,
  updatedBy: ada,
}
const conversation = { ...roomConversation, me: { role: 'owner', readSeq: 2, unread: 0 } }

const page = (...data: object[]) => ({ data, page: { nextCursor: null, prevCursor: null, hasMore: false } })

export const EXAMPLES = {
  answer,
  conversation,
  conversationId,
  message,
  messageId,
  page,
  participant,
  audit: {
    id: '665f1c2ab1d4e8a3c9d0f1c9',
    at,
    by: ada,
    action: 'conversation.update',
    changeSeq: 1,
    subject: null,
    before: { title: '' },
    after: { title: 'Parcel 4711' },
  },
  change: { changeSeq: 1, kind: 'conversation.updated', conversation: roomConversation },
  tombstone: {
    ...message,
    changeSeq: 2,
    content: '',
    attachments: [],
    metadata: {},
    deletedAt: at,
  },
  statistics: {
    total: 2,
    byRole: { user: 1, assistant: 1 },
    byType: { text: 2 },
    byParticipant: [
      { ...ada, messages: 1, tokens: 0, cost: 0 },
      { ...bot, messages: 1, tokens: 222, cost: 0.000444 },
    ],
    tokens: { input: 210, output: 12, total: 222 },
    cost: 0.000444,
    withAttachments: 1,
    attachments: 1,
    firstAt: at,
    lastAt: at,
  },
}
