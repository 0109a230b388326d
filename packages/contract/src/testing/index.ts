import type { Message } from '../resources.ts'

/** A plain message as the api shows it, from a user `ada` unless `fields` say otherwise. */
export function sampleMessage(
  fields: Pick<Message, 'conversationId' | 'seq'> & Partial<Omit<Message, 'createdBy' | 'updatedBy'>>,
): Message {
  const {
    seq,
    participantType = 'user',
    participantId = 'ada',
    createdAt = new Date(0).toISOString(),
  } = fields
  const author = { type: participantType, id: participantId }
  return {
    id: seq.toString(16).padStart(24, '0'),
    changeSeq: 0,
    type: 'text',
    role: 'user',
    status: 'sent',
    participantType,
    participantId,
    parentId: null,
    content: '',
    attachments: [],
    thinking: null,
    toolCalls: [],
    toolCallId: null,
    usage: null,
    model: null,
    cost: 0,
    metadata: {},
    clientMessageId: null,
    createdAt,
    createdBy: author,
    updatedAt: createdAt,
    updatedBy: author,
    deletedAt: null,
    ...fields,
  }
}
